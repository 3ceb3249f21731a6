//! The requests that are served: none that a web page could have sent.
//!
//! A page in a browser on this machine can connect to the store as any client can, and may know its keys, so signatures
//! do
//! not suffice to refuse it. Two headers do, because the browser writes them and a page can't change them:
//! - `Origin` comes with every request of a page to another site, and with each one that changes something. No S3
//!   client sends it.
//! - `Host` is the page's own name if that name resolves to this machine (DNS rebinding). Reading needs no `Origin` for
//!   such a page. Addresses can't be rebound, so those of this machine are safe. So are ports: another port than the
//!   store's own is a forwarded one.
//!
//! Both are checked before anything else of a request, before its signature and its body.

use http::{
    HeaderMap, Method, Request,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};
use s3s::{S3Result, s3_error};
use std::net::IpAddr;

/// The name of this machine that browsers resolve without a name server.
const LOCALHOST: &str = "localhost";

/// The hosts that requests may be for.
#[derive(Debug)]
pub(crate) struct Admission {
    listen: IpAddr,
    /// Allowed beside `localhost` and this machine's addresses.
    names: Vec<String>,
}

impl Admission {
    pub fn new(listen: IpAddr, names: &[String]) -> Self {
        Self {
            listen: listen.to_canonical(),
            names: names.to_vec(),
        }
    }

    pub fn check<B>(&self, request: &Request<B>) -> S3Result<()> {
        let headers = request.headers();
        if headers.contains_key(ORIGIN) {
            return Err(s3_error!(
                AccessDenied,
                "the request has an Origin header, as those of web pages have; no web page may use this store"
            ));
        }
        self.check_host(request)?;
        // Only web pages send forms, and s3s reads a form's file into memory before it authenticates the request.
        if request.method() == Method::POST && is_form(headers) {
            return Err(s3_error!(
                NotImplemented,
                "this store takes no forms; put the object with PUT"
            ));
        }
        Ok(())
    }

    fn check_host<B>(&self, request: &Request<B>) -> S3Result<()> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(s3_error!(
                AccessDenied,
                "a request needs exactly one Host header"
            ));
        };
        let host = String::from_utf8_lossy(host.as_bytes());
        // A target with an authority in it (`GET http://host/`) takes precedence over the header.
        let target = request.uri().authority().map(Authority::as_str);
        for authority in [Some(&*host), target].into_iter().flatten() {
            if !self.serves(authority) {
                return Err(s3_error!(
                    AccessDenied,
                    "the request is for the host {authority:?}, which this store does not serve; if that is a name of \
                     this machine, start `sightline up` with --s3-host NAME (or SIGHTLINE_STORE_HOST=NAME)"
                ));
            }
        }
        Ok(())
    }

    /// Whether `authority`, a host with or without a port, is this store.
    fn serves(&self, authority: &str) -> bool {
        let Some(host) = host(authority) else {
            return false;
        };
        match host.parse::<IpAddr>() {
            Ok(address) => self.is_here(address.to_canonical()) || self.allows(&host),
            Err(_) => host.eq_ignore_ascii_case(LOCALHOST) || self.allows(&host),
        }
    }

    fn is_here(&self, address: IpAddr) -> bool {
        // A store that listens on all addresses does not know them. Any is safe: no page decides where an address
        // leads.
        self.listen.is_unspecified() || address.is_loopback() || address == self.listen
    }

    fn allows(&self, host: &str) -> bool {
        self.names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The host of `host`, `host:port`, `[address]:port`; an IPv6 address without its brackets.
pub(crate) fn host(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host();
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Some(inner.unwrap_or(host).to_owned())
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let essence = text.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("multipart/form-data")
    };
    headers.get_all(CONTENT_TYPE).iter().any(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn admission(listen: &str, names: &[&str]) -> Admission {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Admission::new(listen.parse().unwrap(), &names)
    }

    #[test]
    fn this_machine_is_served_under_its_addresses_and_allowed_names_only() {
        let local = admission("127.0.0.1", &["Store.example", "192.0.2.7"]);
        let own = [
            "127.0.0.1:9000",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]:9000",
            "[::ffff:127.0.0.1]:9000",
            "localhost",
            "LocalHost:9000",
            "store.EXAMPLE:9000",
            "192.0.2.7",
        ];
        for host in own {
            assert!(local.serves(host), "{host}");
        }
        let foreign = [
            "",
            "evil.example",
            "evil.example:9000",
            "localhost.evil.example:9000",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "images.localhost:9000",
            "localhost.",
            "a.store.example",
            "store.example@evil.example",
            "evil.example@localhost",
            "192.0.2.8:9000",
            "0.0.0.0:9000",
            "localhost, evil.example",
            "localhost/",
            "[::1",
        ];
        for host in foreign {
            assert!(!local.serves(host), "{host}");
        }
    }

    #[test]
    fn beyond_loopback_its_own_address_is_served_and_no_name() {
        let one = admission("192.0.2.7", &[]);
        assert!(one.serves("192.0.2.7:9000") && one.serves("127.0.0.1:9000"));
        assert!(!one.serves("192.0.2.8:9000") && !one.serves("evil.example:9000"));
        for everywhere in ["0.0.0.0", "::"] {
            let all = admission(everywhere, &["store.example"]);
            assert!(all.serves("192.0.2.8:9000") && all.serves("[2001:db8::1]:9000"));
            assert!(all.serves("store.example") && !all.serves("evil.example:9000"));
        }
    }

    #[test]
    fn an_object_whose_content_is_a_form_is_not_a_form() {
        let local = admission("127.0.0.1", &[]);
        let request = |method, content_type: &str| {
            let request = Request::builder().method(method).header(HOST, "localhost");
            let request = request.header(CONTENT_TYPE, content_type);
            request.body(()).unwrap()
        };
        let form = "Multipart/Form-Data; boundary=x";
        local.check(&request(Method::PUT, form)).unwrap();
        local
            .check(&request(Method::POST, "multipart/related"))
            .unwrap();
        let refused = local.check(&request(Method::POST, form)).unwrap_err();
        assert_eq!(*refused.code(), S3ErrorCode::NotImplemented);
    }
}
