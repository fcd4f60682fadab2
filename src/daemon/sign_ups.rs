//! Leads sign-ups from the operator's door to the hall.

use std::sync::Arc;

use crate::control::{Answer, SignUp, SignUpSink, SignedUp, WhyNot};
use crate::locale::Language;
use crate::mail::{ControllerId, Mailbox};
use crate::pipeline::{Asking, Pipeline, Request};

pub(super) fn sink(hall: &Arc<Pipeline>) -> SignUpSink {
    let hall = Arc::clone(hall);
    Arc::new(move |sign_up| {
        let hall = Arc::clone(&hall);
        Box::pin(async move {
            match read(sign_up) {
                Ok(request) => ask(&hall, &request).await,
                Err(message) => Answer::Fault { message, why: WhyNot::Malformed },
            }
        })
    })
}

fn read(sign_up: SignUp) -> Result<Request, String> {
    let SignUp { address, controller, purpose, notice, source, ip, language, by } = sign_up;
    let language = language.map(|tag| {
        Language::from_tag(&tag).ok_or_else(|| format!("language `{tag}`: expected one of de, en, es, fr, it, nl"))
    });
    Ok(Request {
        mailbox: Mailbox::parse(&address).map_err(|error| format!("`{address}`: {error}"))?,
        controller: ControllerId::new(&controller).map_err(|error| format!("controller `{controller}`: {error}"))?,
        purpose: purpose.parse()?,
        notice: notice.map(Into::into),
        source: source.map(Into::into),
        ip,
        language: language.transpose()?,
        by,
    })
}

async fn ask(hall: &Pipeline, request: &Request) -> Answer {
    Answer::SignedUp(match hall.ask_to_confirm(request).await {
        Ok(Asking::Asked { id, until }) => SignedUp::Asked { id: id.to_string(), until: until.rfc3339() },
        Ok(Asking::Confirmed) => SignedUp::Confirmed,
        Ok(Asking::Shut) => SignedUp::Shut,
        Ok(Asking::TooOften) => SignedUp::TooOften,
        Err(error) => return Answer::Fault { message: error.to_string(), why: WhyNot::Failed },
    })
}
