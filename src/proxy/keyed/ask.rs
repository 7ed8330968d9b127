//! Asks the application whether it carried a request out of which nobody knows.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use pingora::http::RequestHeader;

use super::taking::Taking;
use crate::policy::idempotency::Ask;
use crate::proxy::attempt::ask;
use crate::proxy::caching::task::BODILESS;
use crate::proxy::context::Context;
use crate::proxy::downstream::Downstream;
use crate::proxy::{Proxy, caught};
use crate::route::table::Route;
use crate::timer::Timer;

/// What the application says.
pub(super) enum Told {
    /// It carried it out.
    Found,
    /// It does not know of it.
    NotFound,
    /// Nothing that says either.
    Nothing,
}

/// Fields that speak of a body, or that ask for another answer than the whole one.
const NOT_ASKED: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

impl Proxy {
    /// Asks with a request of its own: a GET in the name of who tries, through queue and breaker as any other.
    pub(super) async fn ask_application(
        self: &Arc<Self>,
        cx: &Context,
        route: &Arc<Route>,
        mut head: Box<RequestHeader>,
        timer: &mut Timer,
        question: &Ask,
        key: &[u8],
    ) -> Told {
        let key = percent_encode(key, NON_ALPHANUMERIC).to_string();
        let Ok(uri) = question.path.replace("{key}", &key).parse::<Uri>() else { return Told::Nothing };
        NOT_ASKED.iter().for_each(|name| drop(head.remove_header(name)));
        if let Some(keyed) = &route.keyed {
            head.remove_header(&keyed.header);
        }
        asks(&mut head, &uri);
        let mut cx = cx.detached();
        (cx.method, cx.uri) = (Method::GET, uri);
        let taking = Taking::new(self, route, head, None);
        // Nobody reads more of it than its status.
        taking.pipe().leave();
        let mut down = Downstream::taking(taking);
        let asked = ask(self, &mut cx, route, &mut down, timer, &BODILESS, Bytes::new());
        // Boxed: it is asked seldom, and would make every request larger.
        let mut asked = Box::pin(asked);
        let answered = caught(pin!(asked.as_mut())).await;
        drop(asked);
        cx.leave_place();
        match (answered, cx.status) {
            (Ok(()), status) if status == question.found => Told::Found,
            (Ok(()), status) if status == question.not_found => Told::NotFound,
            _ => Told::Nothing,
        }
    }
}

fn asks(head: &mut RequestHeader, uri: &Uri) {
    head.set_method(Method::GET);
    head.set_uri(uri.clone());
}
