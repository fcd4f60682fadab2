//! The description of the door (OpenAPI 3.1), made from the same table that the router goes by.

use serde_json::{Map, Value, json};

use super::body::{ITEMS_MAX, Kind};
use super::routes;
use super::table::{Dialect, Needs, PROBLEM, Route};
use crate::compat::{mailgun, sendgrid};

/// Shapes of bodies and answers, by name.
const SCHEMAS: &str = include_str!("schemas.json");

/// The whole description.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(route.verb.as_str().to_owned(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Consentry", "version": env!("CARGO_PKG_VERSION"),
            "description": "Facts in, answers out. Instants are ISO 8601 in UTC. Whatever is no success is a problem (RFC 9457). \
                            A bulk request has at most 1000 items. Connections over the network show a bearer token; the socket in \
                            the data folder needs none.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

/// They are part of the program: a test reads them.
fn schemas() -> Value {
    let text = SCHEMAS.replace("\"ITEMS_MAX\"", &ITEMS_MAX.to_string());
    serde_json::from_str(&text).unwrap_or_default()
}

fn operation(route: &Route) -> Value {
    let mut operation = Map::new();
    let id = format!("{} {}", route.verb.as_str(), route.path);
    operation.insert("operationId".to_owned(), id.replace([' ', '/', '{', '}', '.'], "_").into());
    operation.insert("summary".to_owned(), route.about.into());
    match route.needs {
        Needs::Nothing => {
            operation.insert("security".to_owned(), json!([]));
        }
        Needs::Right(right) => {
            operation.insert("x-right".to_owned(), right.as_str().into());
        }
        Needs::Operator => {
            operation.insert("x-right".to_owned(), "operator".into());
        }
    }
    let parameters: Vec<_> = parameters(route).collect();
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = route.body {
        let content = Kind::taken(route.dialect).iter().map(|kind| {
            let schema = match kind {
                Kind::Json => body,
                Kind::Form | Kind::Multipart => route.dialect.form().unwrap_or(body),
            };
            let mut media = json!({ "schema": reference(schema) });
            if let (Some(example), Value::Object(fields)) = (body_example(schema), &mut media) {
                fields.insert("example".to_owned(), example);
            }
            (kind.as_str().to_owned(), media)
        });
        let content = Value::Object(content.collect());
        operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    let answers = route.statuses().into_iter().map(|(status, schema)| {
        let kind = if schema == PROBLEM { "application/problem+json" } else { "application/json" };
        let about = if schema == route.dialect.problem() { "Not done, and why" } else { "Done" };
        if schema.is_empty() {
            return (status.to_string(), json!({ "description": about }));
        }
        (status.to_string(), json!({ "description": about, "content": { kind: { "schema": reference(schema) } } }))
    });
    operation.insert("responses".to_owned(), Value::Object(answers.collect()));
    Value::Object(operation)
}

fn parameters(route: &Route) -> impl Iterator<Item = Value> {
    let query = route.query.iter().map(|known| {
        let schema: Value = serde_json::from_str(known.schema).unwrap_or_default();
        json!({ "name": known.name, "in": "query", "description": known.about, "schema": schema })
    });
    let path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let path = path.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": part(name, route.dialect), "example": example(name) })
    });
    let condition = route.is_conditional().then(|| {
        let about = "The ETag of the search that showed what is to be changed.";
        json!({ "name": "If-Match", "in": "header", "description": about, "schema": { "type": "string" } })
    });
    path.chain(query).chain(condition)
}

/// A body that is taken where `acme` has a stream `news` with a list `weekly`: programs that test the door come past its first checks
/// by it.
fn body_example(schema: &str) -> Option<Value> {
    schemas().pointer(&format!("/{schema}/examples/0")).cloned()
}

/// What a part of a path may be.
fn part(name: &str, dialect: Dialect) -> Value {
    let words = |all: &[&str]| json!({ "enum": all });
    match (name, dialect) {
        ("kind", Dialect::Mailgun) => words(&mailgun::Kind::ALL.map(mailgun::Kind::as_str)),
        ("kind", Dialect::SendGrid) => words(&sendgrid::Kind::ALL.map(sendgrid::Kind::as_str)),
        ("domain", _) => json!({ "type": "string", "format": "hostname" }),
        ("address" | "email", _) => json!({ "type": "string", "format": "email" }),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

/// A part of a path as it may look.
fn example(name: &str) -> &'static str {
    match name {
        "kind" => "unsubscribes",
        "domain" => "acme.example",
        "address" | "email" => "ann@customer.example",
        "stream" => "news",
        "group" => "weekly",
        _ => "0000000000001",
    }
}

fn reference(schema: &str) -> Value {
    if schema == "Any" { json!({}) } else { json!({ "$ref": format!("#/components/schemas/{schema}") }) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    /// Written anew with `CONSENTRY_WRITE_OPENAPI=1 cargo test --lib openapi`.
    #[test]
    fn the_file_in_the_documentation_is_the_description() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/openapi.json");
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("CONSENTRY_WRITE_OPENAPI").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "see the comment above this test");
    }

    #[test]
    fn every_schema_is_there_and_used_and_no_route_stands_there_twice() {
        let known = schemas();
        let known: HashSet<_> = known.as_object().unwrap().keys().cloned().collect();
        let whole = document().to_string();
        for name in &known {
            assert!(whole.contains(&format!("schemas/{name}\"")), "{name} is not used");
        }
        for part in whole.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(known.contains(name), "{name} is missing");
        }
        let mut routes: Vec<_> = routes::all().map(|route| (route.path, route.verb.as_str())).collect();
        let count = routes.len();
        routes.sort_unstable();
        routes.dedup();
        assert_eq!(routes.len(), count);
    }
}
