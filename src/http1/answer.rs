//! The head of an answer: its fields, and how their names are spelled.

use std::ops::{Deref, DerefMut};

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use super::Spelling;

/// The head of an answer. Over HTTP/2, and of our own, it has no spelling: names are in lower case.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    fields: ResponseHeader,
    spelling: Spelling,
}

impl AnswerHead {
    /// A head whose names are spelled so.
    pub fn new(fields: ResponseHeader, spelling: Spelling) -> Self {
        AnswerHead { fields, spelling }
    }

    /// Visits the fields: the name, as it is spelled, and the value.
    pub fn each(&self, visit: impl FnMut(&HeaderName, &[u8], &HeaderValue)) {
        self.spelling.each(&self.fields.headers, visit);
    }

    /// Without the spelling.
    pub fn into_fields(self) -> ResponseHeader {
        self.fields
    }
}

impl From<ResponseHeader> for AnswerHead {
    fn from(fields: ResponseHeader) -> Self {
        AnswerHead::new(fields, Spelling::default())
    }
}

impl Deref for AnswerHead {
    type Target = ResponseHeader;

    fn deref(&self) -> &ResponseHeader {
        &self.fields
    }
}

impl DerefMut for AnswerHead {
    fn deref_mut(&mut self) -> &mut ResponseHeader {
        &mut self.fields
    }
}
