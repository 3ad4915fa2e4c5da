//! Requests and responses arrive as they were sent.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;

use super::{
    Subject,
    drive::{Fixture, Verdict, exchange, ready, within},
};
use crate::probe::{
    Answer, Mark, NUMBER, ProbePlan, ProbeRequest, enrich, probe_request, rich_request,
};

const UNAVAILABLE: Answer = Answer::Status(StatusCode::SERVICE_UNAVAILABLE);

/// What arrives at the inner service, be it the first attempt or a later one.
pub(super) async fn requests<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    for method in [Method::GET, Method::PUT, Method::POST] {
        for answer in [Answer::Responds, UNAVAILABLE, Answer::Fails] {
            let verdict = request(fixture, &method, answer).await;
            verdict.map_err(|detail| format!("{method}, Answer::{answer:?}: {detail}"))?;
        }
    }
    Ok(())
}

async fn request<S: Subject>(fixture: &Fixture<'_, S>, method: &Method, answer: Answer) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.record();
    handle.set(ProbePlan { answer, ..ProbePlan::default() });
    let sent = rich_request(method.clone(), handle.next_id());
    let outcome = within(exchange(&mut service, sent.clone())).await;
    let outcome = outcome.ok_or("the call hangs")?;
    let arrived = handle.requests();
    match (answer, outcome, arrived.len()) {
        (_, _, 0) => return Err("the request does not arrive".to_owned()),
        (Answer::Responds, Err(error), _) => return Err(format!("the call fails: {error}")),
        (Answer::Responds, Ok(_), 2..) => {
            return Err(format!("{} inner calls for one success", arrived.len()));
        }
        _ => {}
    }
    for (attempt, arrived) in (1..).zip(arrived) {
        let verdict = same_request(arrived, sent.clone()).await;
        verdict.map_err(|detail| format!("attempt {attempt}: {detail}"))?;
    }
    Ok(())
}

async fn same_request(arrived: ProbeRequest, sent: ProbeRequest) -> Verdict {
    let (arrived, arrived_body) = arrived.into_parts();
    let (sent, sent_body) = sent.into_parts();
    same("method", &arrived.method, &sent.method)?;
    same("URI", &arrived.uri, &sent.uri)?;
    same("version", &arrived.version, &sent.version)?;
    same_headers(&arrived.headers, &sent.headers)?;
    same("extension", &arrived.extensions.get(), &Some(&Mark))?;
    let arrived = arrived_body.collect().await.map(|body| body.to_bytes());
    let sent = sent_body.collect().await.map(|body| body.to_bytes());
    same("body", &arrived, &sent)
}

/// What arrives at the caller.
pub(super) async fn responses<S: Subject>(fixture: &Fixture<'_, S>) -> Verdict {
    for status in [200, 201, 302, 404, 500, 503] {
        let status = StatusCode::from_u16(status).expect("three digits are a status");
        let verdict = response(fixture, status).await;
        verdict.map_err(|detail| format!("to {status}: {detail}"))?;
    }
    Ok(())
}

async fn response<S: Subject>(fixture: &Fixture<'_, S>, status: StatusCode) -> Verdict {
    let (handle, mut service) = fixture.set_up();
    handle.set(ProbePlan { answer: Answer::Status(status), rich: true, ..ProbePlan::default() });
    let request = probe_request(handle.next_id());
    let sent = answer_to(&request, status);
    let call = async {
        ready(&mut service).await?;
        service.call(request).await
    };
    let arrived = within(call).await.ok_or("the call hangs")?;
    let arrived = arrived.map_err(|error| format!("the call fails: {}", error.into()))?;
    same("status", &arrived.status(), &sent.status())?;
    same("version", &arrived.version(), &sent.version())?;
    same_headers(arrived.headers(), sent.headers())?;
    same("extension", &arrived.extensions().get(), &Some(&Mark))
}

fn answer_to<B>(request: &Request<B>, status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let number = request.headers()[NUMBER].clone();
    response.headers_mut().insert(NUMBER, number);
    enrich(&mut response);
    response
}

/// The same values in the same order for each name, and secrets still are.
fn same_headers(arrived: &HeaderMap, sent: &HeaderMap) -> Verdict {
    same("headers", arrived, sent)?;
    for name in sent.keys() {
        let secrets = |headers: &HeaderMap| -> Vec<_> {
            let values = headers.get_all(name).iter();
            values.map(HeaderValue::is_sensitive).collect()
        };
        if secrets(arrived) != secrets(sent) {
            return Err(format!("{name} is no secret any more, or has become one"));
        }
    }
    Ok(())
}

fn same<T: PartialEq + fmt::Debug>(what: &str, arrived: &T, sent: &T) -> Verdict {
    match arrived == sent {
        true => Ok(()),
        false => Err(format!("the {what} is {arrived:?} instead of {sent:?}")),
    }
}
