//! Where hosts are.

use std::{
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Looks names up by the system, but for those whose addresses were given.
#[derive(Clone)]
pub(crate) struct Resolver {
    given: Arc<[(String, Vec<IpAddr>)]>,
    system: GaiResolver,
}

impl Resolver {
    /// Of a name that is there twice, the last one counts.
    pub(crate) fn new(given: &[(String, Vec<IpAddr>)]) -> Self {
        Self { given: given.into(), system: GaiResolver::new() }
    }

    fn given(&self, name: &str) -> Option<Vec<SocketAddr>> {
        let mut found = self.given.iter().rev();
        let (_, addresses) = found.find(|(host, _)| host.eq_ignore_ascii_case(name))?;
        // The port is that of the URL, which is put in later.
        let addresses = addresses.iter().map(|address| SocketAddr::new(*address, 0));
        Some(addresses.collect()).filter(|addresses: &Vec<_>| !addresses.is_empty())
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<vec::IntoIter<SocketAddr>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Some(addresses) = self.given(name.as_str()) {
            return Box::pin(ready(Ok(addresses.into_iter())));
        }
        let looked_up = self.system.call(name);
        Box::pin(async move { Ok(looked_up.await?.collect::<Vec<_>>().into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_last_counts_for_a_name_in_any_case() {
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let given = [
            ("one.example".to_owned(), vec![address(1)]),
            ("Two.example".to_owned(), vec![address(2), address(3)]),
            ("one.example".to_owned(), vec![address(4)]),
            ("none.example".to_owned(), Vec::new()),
        ];
        let resolver = Resolver::new(&given);
        for (name, expected) in [
            ("one.example", Some(vec![address(4)])),
            ("two.EXAMPLE", Some(vec![address(2), address(3)])),
            ("none.example", None),
            ("a.one.example", None),
        ] {
            let found = resolver.given(name);
            let found = found.map(|found| found.iter().map(SocketAddr::ip).collect::<Vec<_>>());
            assert_eq!(found, expected, "{name}");
        }
    }
}
