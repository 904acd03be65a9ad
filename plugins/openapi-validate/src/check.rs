//! Checks the parts of a request or a response.

use json_schema::{Schema, Schemas};
use weir_guest::prelude::*;

use crate::api::{Answer, Content, Operation};
use crate::parameter::{Given, Parameter, Place};
use crate::problem::Wrong;
use crate::text::{is_json, media_type};

/// What is wrong with the parameters of a request.
pub fn parameters(
    schemas: &Schemas,
    operation: &Operation,
    captures: &[(&str, &str)],
    req: &Request,
) -> Vec<Wrong> {
    let query = req.query_string();
    let mut wrong = Vec::new();
    for parameter in &operation.parameters {
        let given = match parameter.place {
            Place::Path => {
                let capture = captures.iter().find(|(name, _)| *name == parameter.name);
                capture.map_or(Given::Nothing, |(_, raw)| parameter.in_path(raw))
            }
            Place::Query => parameter.in_query(&query),
            Place::Header => parameter.in_fields(&req.headers().get_all(&parameter.name)),
            Place::Cookie => {
                let cookies = req.cookies().entries().into_iter();
                let values: Vec<_> = cookies
                    .filter(|cookie| cookie.name == parameter.name)
                    .map(|cookie| cookie.value)
                    .collect();
                parameter.in_fields(&values)
            }
        };
        given_parameter(schemas, parameter, given, &mut wrong);
    }
    wrong
}

fn given_parameter(schemas: &Schemas, parameter: &Parameter, given: Given, wrong: &mut Vec<Wrong>) {
    match (given, parameter.schema) {
        (Given::Nothing, _) if parameter.required => {
            wrong.push(Wrong::there(parameter, "required", "must be there"));
        }
        (Given::Broken(why), _) => wrong.push(Wrong::there(parameter, "style", why)),
        (Given::Value(value), Some(schema)) => {
            let found = schemas.check(schema, &value).into_iter();
            wrong.extend(found.map(|finding| Wrong::parameter(parameter, finding)));
        }
        (Given::Nothing | Given::Value(_), _) => {}
    }
}

/// What is wrong with the fields of a response.
pub fn fields(schemas: &Schemas, answer: &Answer, res: &Response) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for header in &answer.headers {
        given_parameter(schemas, header, header.in_fields(&res.headers().get_all(&header.name)), &mut wrong);
    }
    wrong
}

/// How a body is to be looked at, by its media type.
pub enum Typed {
    /// It is JSON, by this schema.
    Json(Schema),
    /// It may be what it is.
    Other,
    /// Its type may not be.
    Unlisted,
    /// It has no type.
    Missing,
}

/// By the field `content-type`.
pub fn typed(content: &Content, headers: &Headers) -> Typed {
    let fields = headers.get_all("content-type");
    let field = match fields.as_slice() {
        [] => return Typed::Missing,
        [field] => String::from_utf8_lossy(field),
        _ => return Typed::Unlisted,
    };
    let kind = media_type(&field);
    match content.of(&kind) {
        None => Typed::Unlisted,
        Some(Some(schema)) if is_json(&kind) => Typed::Json(schema),
        Some(_) => Typed::Other,
    }
}

/// What is wrong with a body of JSON.
pub fn body(schemas: &Schemas, schema: Schema, data: &[u8]) -> Vec<Wrong> {
    match json_schema::read(data) {
        Ok(value) => schemas.check(schema, &value).into_iter().map(Wrong::body).collect(),
        Err(error) => vec![Wrong::whole("json", format!("must be JSON: {error}"))],
    }
}
