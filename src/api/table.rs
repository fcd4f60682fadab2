//! What can be asked for: one entry a route, which the router, the description and the tests all go by.

use std::pin::Pin;

use axum::http::StatusCode;

use super::call::{Call, Reply};
use super::problem::Problem;
use super::reach::Right;

/// What an answer is made by.
pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// How a route is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    /// The word in the description.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody may read it.
    Nothing,
    /// A token with this right, or the socket.
    Right(Right),
    /// The socket.
    Operator,
}

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its JSON schema.
    pub(super) schema: &'static str,
}

impl Parameter {
    pub(super) const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, about, schema: r#"{"type":"string"}"# }
    }

    pub(super) const fn of(name: &'static str, about: &'static str, schema: &'static str) -> Self {
        Self { name, about, schema }
    }
}

/// One route.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) about: &'static str,
    pub(super) query: &'static [Parameter],
    /// The schema of its body.
    pub(super) body: Option<&'static str>,
    /// Answers by status, each with its schema, besides the problems that every route has.
    pub(super) answers: &'static [(u16, &'static str)],
    /// How its problems are spoken.
    pub(super) dialect: Dialect,
    pub(super) handler: Handler,
}

/// The schema of our problems.
pub(super) const PROBLEM: &str = Dialect::Ours.problem();

/// Whose shape an answer has that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// RFC 9457.
    Ours,
    /// `{"message"}`.
    Mailgun,
    /// `{"errors": [{"field", "message"}]}`.
    SendGrid,
    /// `{"ErrorCode", "Message"}`.
    Postmark,
}

impl Dialect {
    /// The schema of a problem.
    pub(super) const fn problem(self) -> &'static str {
        match self {
            Self::Ours => "Problem",
            Self::Mailgun => "MailgunProblem",
            Self::SendGrid => "SendGridProblem",
            Self::Postmark => "PostmarkProblem",
        }
    }

    /// The schema of a form, where bodies may be one.
    pub(super) const fn form(self) -> Option<&'static str> {
        match self {
            Self::Mailgun => Some("MailgunEntry"),
            Self::Ours | Self::SendGrid | Self::Postmark => None,
        }
    }
}

impl Route {
    /// Whether If-Match is heeded.
    pub(super) fn is_conditional(&self) -> bool {
        self.answers.iter().any(|(status, _)| *status == StatusCode::PRECONDITION_FAILED.as_u16())
    }

    /// Every status that the route may answer with, in order, with its schema.
    pub(super) fn statuses(&self) -> Vec<(u16, &'static str)> {
        let mut all = self.answers.to_vec();
        let mut may = |statuses: &[StatusCode]| {
            all.extend(statuses.iter().map(|status| (status.as_u16(), self.dialect.problem())));
        };
        if self.needs != Needs::Nothing {
            may(&[StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS]);
            may(&[StatusCode::SERVICE_UNAVAILABLE]);
        }
        if self.body.is_some() {
            may(&[StatusCode::LENGTH_REQUIRED, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE]);
            may(&[StatusCode::REQUEST_TIMEOUT]);
        }
        // Anything may have a query that it does not know.
        may(&[StatusCode::BAD_REQUEST]);
        all.sort_by_key(|(status, _)| *status);
        all.dedup_by_key(|(status, _)| *status);
        all
    }
}
