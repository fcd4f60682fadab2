//! The fields of a form, in either of the ways that clients write one: in one line, or in parts (RFC 7578).
//!
//! Strict, where the person's door forgives what mailbox providers send: a program is told what is wrong, and nothing is guessed.

use axum::http::header;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use multer::{Constraints, Field, Multipart, SizeLimit};

use super::body::Kind;
use super::call::{Call, pairs};
use super::problem::Problem;

/// Most fields: an entry has six, and `tags` comes once for each list.
const FIELDS_MAX: usize = 64;
/// Octets of one part. What a server says of a mailbox can be long; the store takes a kilobyte of it.
const PART_MAX: u64 = 16 * 1024;
/// Characters that part the parts (RFC 2046 section 5.1.1).
const BOUNDARY_MAX: usize = 70;
/// Where a part says how it is encoded.
const ENCODING: &str = "content-transfer-encoding";
/// Those of its values that mean: not at all. RFC 7578 section 4.7 has done away with the others.
const PLAIN: [&str; 3] = ["7bit", "8bit", "binary"];

/// Names and values of a form, in order; none for a body that is JSON.
///
/// # Errors
/// 400 for one that is not whole, is no UTF-8, is past a bound, or brings a file.
pub(super) async fn fields(call: &Call) -> Result<Option<Vec<(String, String)>>, Problem> {
    match Kind::of(&call.fields) {
        Some(Kind::Form) => escaped(&call.body).map(Some),
        Some(Kind::Multipart) => {
            let kind = call.fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            parts(kind.unwrap_or_default(), call.body.clone()).await.map(Some)
        }
        Some(Kind::Json) | None => Ok(None),
    }
}

fn escaped(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let wrong = || Problem::malformed("body: expected a form in UTF-8 and percent escapes");
    let text = std::str::from_utf8(body).map_err(|_| wrong())?;
    if text.split('&').count() > FIELDS_MAX {
        return Err(too_many());
    }
    pairs(text).ok_or_else(wrong)
}

async fn parts(kind: &str, body: Bytes) -> Result<Vec<(String, String)>, Problem> {
    let boundary = multer::parse_boundary(kind).map_err(|error| broken(&error))?;
    if !(1..=BOUNDARY_MAX).contains(&boundary.len()) {
        return Err(Problem::malformed(format!("boundary: expected 1 to {BOUNDARY_MAX} characters")));
    }
    let bounds = Constraints::new().size_limit(SizeLimit::new().per_field(PART_MAX));
    let mut form = Multipart::with_constraints(Full::new(body).into_data_stream(), boundary, bounds);
    let mut fields = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|error| broken(&error))? {
        if fields.len() == FIELDS_MAX {
            return Err(too_many());
        }
        fields.push(read(part).await?);
    }
    Ok(fields)
}

async fn read(part: Field<'_>) -> Result<(String, String), Problem> {
    let name = part.name().ok_or_else(|| Problem::malformed("body: a part has no name"))?.to_owned();
    let refused = |why: &str| Problem::malformed(format!("body: the part `{name}` {why}"));
    if part.file_name().is_some() {
        return Err(refused("is a file; expected fields alone"));
    }
    let is_plain = |word: &str| PLAIN.iter().any(|plain| word.trim().eq_ignore_ascii_case(plain));
    if part.headers().get(ENCODING).is_some_and(|value| !value.to_str().is_ok_and(is_plain)) {
        return Err(refused("is encoded for transfer; expected it as it is"));
    }
    let octets = part.bytes().await.map_err(|error| broken(&error))?;
    let value = std::str::from_utf8(&octets).map_err(|_| refused("is no UTF-8"))?.to_owned();
    Ok((name, value))
}

fn too_many() -> Problem {
    Problem::malformed(format!("body: expected a form of at most {FIELDS_MAX} fields"))
}

fn broken(error: &multer::Error) -> Problem {
    Problem::malformed(format!("body: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=x-X-x";

    fn part(head: &str, value: &str) -> String {
        format!("--x-X-x\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    }

    fn form(parts: &[String]) -> Bytes {
        Bytes::from(format!("{}--x-X-x--\r\n", parts.concat()))
    }

    async fn refused(kind: &str, body: impl Into<Bytes>) -> String {
        parts(kind, body.into()).await.unwrap_err().detail().to_owned()
    }

    #[tokio::test]
    async fn parts_are_fields_in_their_order() {
        let latin = "name=\"error\"\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8BIT";
        let body = form(&[
            part("name=\"address\"", "a@b.example"),
            part("name=\"tags\"", "weekly"),
            part("name=tags", "monthly"),
            part(latin, "na\u{ef}ve\r\n--x-X"),
            part("name=\"tag\"", ""),
        ]);
        let read = parts(KIND, body.clone()).await.unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("address", "a@b.example"),
            ("tags", "weekly"),
            ("tags", "monthly"),
            ("error", "na\u{ef}ve\r\n--x-X"),
            ("tag", ""),
        ];
        assert_eq!(read, expected);
        assert_eq!(parts("multipart/form-data; boundary=\"x-X-x\"", body).await.unwrap().len(), 5);
        assert_eq!(parts(KIND, form(&[])).await.unwrap(), [], "of no parts");
    }

    #[tokio::test]
    async fn a_form_that_breaks_off_is_refused_wherever_it_does() {
        let whole = form(&[part("name=\"address\"", "a@b.example"), part("name=\"tag\"", "weekly")]);
        // What follows the last boundary's hyphens is nobody's.
        let end = whole.len() - 2;
        assert_eq!(parts(KIND, whole.slice(..end)).await.unwrap().len(), 2);
        for cut in 0..end {
            assert!(parts(KIND, whole.slice(..cut)).await.is_err(), "{cut}");
        }
    }

    #[tokio::test]
    async fn files_and_what_has_no_name_or_another_encoding_are_refused() {
        let file = part("name=\"file\"; filename=\"bounces.csv\"", "address\r\na@b.example");
        assert!(refused(KIND, form(&[file])).await.contains("`file` is a file"));
        assert!(refused(KIND, form(&[part("filename=\"\"; name=\"x\"", "")])).await.contains("is a file"));
        assert!(refused(KIND, form(&[part("other=\"x\"", "y")])).await.contains("no name"));
        let encoded = part("name=\"address\"\r\nContent-Transfer-Encoding: base64", "YUBiLmV4YW1wbGU=");
        assert!(refused(KIND, form(&[encoded])).await.contains("encoded for transfer"));
        let mut octets = form(&[part("name=\"error\"", "?")]).to_vec();
        let at = octets.iter().position(|octet| *octet == b'?').unwrap();
        octets[at] = 0xE9;
        assert!(refused(KIND, octets).await.contains("no UTF-8"));
        for kind in ["multipart/form-data", "multipart/form-data; boundary=\"\"", "multipart/mixed; boundary=x-X-x"] {
            assert!(parts(kind, form(&[part("name=\"tag\"", "weekly")])).await.is_err(), "{kind}");
        }
    }

    #[tokio::test]
    async fn a_form_ends_at_its_limits() {
        let many = |count: usize| form(&vec![part("name=\"tags\"", "weekly"); count]);
        assert_eq!(parts(KIND, many(FIELDS_MAX)).await.unwrap().len(), FIELDS_MAX);
        assert!(refused(KIND, many(FIELDS_MAX + 1)).await.contains("at most 64 fields"));
        let long = |len: u64| form(&[part("name=\"error\"", &"x".repeat(usize::try_from(len).unwrap()))]);
        assert_eq!(parts(KIND, long(PART_MAX)).await.unwrap().len(), 1);
        assert!(refused(KIND, long(PART_MAX + 1)).await.contains("\"error\" exceeded the size limit"));
        let apart = |len: usize| {
            let boundary = "b".repeat(len);
            let body =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"tag\"\r\n\r\nx\r\n--{boundary}--");
            (format!("multipart/form-data; boundary={boundary}"), Bytes::from(body))
        };
        let (kind, body) = apart(BOUNDARY_MAX);
        assert_eq!(parts(&kind, body).await.unwrap().len(), 1);
        let (kind, body) = apart(BOUNDARY_MAX + 1);
        assert!(refused(&kind, body).await.contains("boundary"));
        let line = |count: usize| vec!["tags=weekly"; count].join("&");
        assert_eq!(escaped(line(FIELDS_MAX).as_bytes()).unwrap().len(), FIELDS_MAX);
        assert!(escaped(line(FIELDS_MAX + 1).as_bytes()).unwrap_err().detail().contains("at most 64 fields"));
        assert!(escaped(b"tags=%").is_err() && escaped(b"tags=\xff").is_err());
    }
}
