//! What commands ask the running daemon: the same routes, over the socket in the data folder.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::server::Local;
use crate::control::{Answer, Question, WhyNot};

/// How long an answer may take: a fence waits for the longest attempt under way.
const TALK_MAX: Duration = Duration::from_secs(90);
/// Longest answer: a page of copies with their recipients' domains.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Asks the daemon of a data folder; `None` when none is running there.
///
/// # Errors
/// The system's, [`io::ErrorKind::TimedOut`], and [`io::ErrorKind::InvalidData`] for an answer that cannot be read.
pub async fn ask(data_dir: &Path, question: Question) -> io::Result<Option<Answer>> {
    let stream = match UnixStream::connect(Local::path(data_dir)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let Asked { method, target, body, read } = asked(question);
    let (status, octets) = tokio::time::timeout(TALK_MAX, exchange(stream, method, &target, body)).await??;
    if status.is_success() {
        return read(&octets).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    }
    let problem: Value = serde_json::from_slice(&octets)?;
    let message = problem.get("detail").and_then(Value::as_str).unwrap_or("the daemon did not say why").to_owned();
    let why = match status {
        StatusCode::NOT_FOUND => WhyNot::Absent,
        StatusCode::BAD_REQUEST => WhyNot::Malformed,
        _ => WhyNot::Failed,
    };
    Ok(Some(Answer::Fault { message, why }))
}

/// A question as a request, and how its answer is read.
struct Asked {
    method: Method,
    target: String,
    body: Option<Value>,
    read: fn(&[u8]) -> serde_json::Result<Answer>,
}

fn asked(question: Question) -> Asked {
    let get = |target: String, read| Asked { method: Method::GET, target, body: None, read };
    let post =
        |target: &str, body, read| Asked { method: Method::POST, target: target.to_owned(), body: Some(body), read };
    match question {
        Question::Stats => get("/v1/queue".to_owned(), |octets| read(octets).map(Answer::Stats)),
        Question::List { which, limit, after } => {
            let mut pairs = vec![("limit", limit.to_string())];
            pairs.extend(after.map(|after| ("after", after)));
            pairs.extend(which.route.map(|route| ("route", route.to_string())));
            pairs.extend(which.stream.map(|stream| ("stream", stream.to_string())));
            pairs.extend(which.campaign.map(|campaign| ("campaign", campaign.to_string())));
            pairs.extend(which.domain.map(|domain| ("domain", domain.to_string())));
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
            get(format!("/v1/queue/copies?{}", pairs.join("&")), |octets| {
                let Listed { copies, next } = read(octets)?;
                Ok(Answer::List { copies, next })
            })
        }
        Question::Show { id } => {
            get(format!("/v1/queue/copies/{}", escape(&id)), |octets| read(octets).map(Answer::Copy))
        }
        Question::Change { change, which, after, by, because } => {
            let body = json!({ "change": change, "which": which, "after": after, "by": by, "because": because });
            post("/v1/queue/changes", body, done)
        }
        Question::Suspend { which, seconds, by, because } => {
            let body = json!({ "which": which, "seconds": seconds, "by": by, "because": because });
            post("/v1/queue/suspensions", body, done)
        }
        Question::Resume { which, by, because } => {
            post("/v1/queue/resumptions", json!({ "which": which, "by": by, "because": because }), done)
        }
        Question::Fence => post("/v1/fence", json!({}), done),
        Question::Record { line } => {
            post("/v1/records", serde_json::from_str(&line).unwrap_or(Value::String(line)), done)
        }
        Question::SignUp(sign_up) => {
            let mut body = serde_json::to_value(sign_up).unwrap_or_default();
            if let Value::Object(fields) = &mut body {
                fields.insert("confirm".to_owned(), true.into());
            }
            post("/v1/consents", body, |octets| read(octets).map(Answer::SignedUp))
        }
    }
}

#[derive(serde::Deserialize)]
struct Listed {
    copies: Vec<crate::control::Waiting>,
    next: Option<String>,
}

#[derive(serde::Deserialize)]
struct Done {
    copies: u64,
    busy: u64,
    next: Option<String>,
}

fn done(octets: &[u8]) -> serde_json::Result<Answer> {
    let Done { copies, busy, next } = read(octets)?;
    Ok(Answer::Done { copies, busy, next })
}

fn read<T: DeserializeOwned>(octets: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(octets)
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    target: &str,
    body: Option<Value>,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder().method(method).uri(target).header(header::HOST, "localhost");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let text = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(text))).map_err(io::Error::other)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let whole = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(io::Error::other)?;
        Ok((status, whole.to_bytes()))
    };
    let connection = async {
        // The answer says how it ended.
        let _ended = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! { answered = answered => answered, () = connection => Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Percent escapes of whatever is no plain letter, digit, dot, dash or underscore.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"._-".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            let _never_fails = write!(escaped, "%{octet:02X}");
        }
    }
    escaped
}
