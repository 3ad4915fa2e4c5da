//! What is wished becomes a request.

use std::mem;

use http::{Request, Uri, header};
use http_body::Body as _;
use palisade_core::Deadline;

use super::{Patience, RequestBuilder};
use crate::{Body, call::Call, fields, invalid::Invalid, route::Kind, template, timeout, url};

impl<S> RequestBuilder<S> {
    /// The service, and what it is to send.
    pub(super) fn finish(mut self) -> (S, Result<Request<Body>, (Invalid, Call)>) {
        let endpoint = self.route.endpoint(&self.method);
        let resolved = match self.invalid.take() {
            Some(invalid) => Err(invalid),
            None => self.resolve(),
        };
        let uri = match resolved {
            Ok(uri) => uri,
            Err(invalid) => {
                let call = Call { method: self.method, endpoint, uri: Uri::default() };
                return (self.client.service, Err((invalid, call)));
            }
        };
        let deadline = match self.patience {
            Some(Patience::For(timeout)) => {
                timeout::lift_all(&mut self.extensions);
                tokio::time::Instant::now().into_std().checked_add(timeout)
            }
            Some(Patience::Until(deadline)) => {
                timeout::lift_total(&mut self.extensions);
                Some(deadline)
            }
            None => None,
        };
        if let Some(deadline) = deadline {
            self.extensions.insert(Deadline(deadline));
        }
        if let Some(endpoint) = endpoint {
            endpoint.put_into(&mut self.extensions);
        }
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        *request.extensions_mut() = self.extensions;
        (self.client.service, Ok(request))
    }

    /// Where it goes, once it is whole.
    fn resolve(&mut self) -> Result<Uri, Invalid> {
        let settings = &*self.client.settings;
        let uri = settings.resolve(self.link()?)?;
        settings.add_headers(&uri, &mut self.headers);
        self.hold_to_length()?;
        Ok(uri)
    }

    /// Holds the body to the length that a field says: it is sent as it is, and a server would
    /// wait for the rest of a shorter body, or take the next request for that.
    fn hold_to_length(&mut self) -> Result<(), Invalid> {
        let Some(field) = self.headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
        let Some(said) = fields::length(field) else {
            let text = "the `content-length` is no number of bytes: leave the field out";
            return Err(Invalid::new(text));
        };
        match self.body.size_hint().exact() {
            Some(length) if length == said => {}
            Some(length) => {
                return Err(Invalid::new(format!(
                    "the `content-length` says {said} bytes and the body has {length}: leave the field out"
                )));
            }
            None => self.body = Body::stream_with_length(mem::take(&mut self.body), said),
        }
        Ok(())
    }

    /// The route with its values and the query.
    fn link(&self) -> Result<String, Invalid> {
        // With room for the values, and for the path of the base URL.
        let mut link = String::with_capacity(self.route.link.len() + self.query.len() + 64);
        if self.route.kind == Kind::Link {
            if let Some(name) = self.values.first() {
                let text =
                    format!("the route is no template, and has no place for the value `{name}`");
                return Err(Invalid::new(text));
            }
            url::write_link(&self.route.link, &mut link)?;
        } else {
            template::expand(&self.route.link, &self.values, &mut link)?;
        }
        if let Some(pairs) = self.query.strip_prefix('&') {
            match link.find('?') {
                None => link.push('?'),
                Some(start) if start + 1 < link.len() && !link.ends_with('&') => link.push('&'),
                Some(_) => {}
            }
            link.push_str(pairs);
        }
        Ok(link)
    }
}
