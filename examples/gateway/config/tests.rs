use palisade::metrics::Registry;

use super::*;
use crate::route::Routes;

const ROUTE: &str = "[[routes]]\nprefix = \"/a\"\nupstream = \"https://a.example\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("g.toml".to_owned(), text.to_owned(), PathBuf::new())
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let text = text.replace("{ROUTE}", ROUTE);
    let error = parse(&text).expect_err(&text).to_string();
    assert_eq!(error, format!("g.toml:{expected}"), "{text}");
}

#[test]
fn tells_where_something_is_no_toml_or_unknown() {
    for (text, expected) in [
        ("[server\n", "1:8: unclosed table, expected `]`"),
        ("\n\nlisten = = 1\n", "3:10: extra `=`, expected nothing"),
        (
            "[server]\nport = 80\n",
            "2:1: server.port: unknown field `port`, expected one of `listen`, `admin`, \
             `trusted_hops`, `header_timeout`, `shutdown_timeout`",
        ),
        (
            "{ROUTE}[routes.rate_limit]\nrequest = 1\n",
            "5:1: routes[0].rate_limit.request: unknown field `request`, expected one of \
             `requests`, `per`, `burst`, `by`",
        ),
        (
            "{ROUTE}[routes.auth.basic]\nuser = \"a\"\n",
            "4:14: routes[0].auth: unknown variant `basic`, expected one of `bearer`, `api_key`, \
             `client_credentials`",
        ),
        ("[[routes]]\nprefix = \"/a\"\n", "1:1: routes[0]: missing field `upstream`"),
        ("", "1:1: routes: there is none: add `[[routes]]` with a `prefix` and an `upstream`"),
    ] {
        check(text, expected);
    }
}

#[test]
fn tells_which_value_makes_no_sense() {
    const TIME: &str = "expected a time such as \"250ms\", \"5s\", \"2m\" or \"1h\", up to \"24h\"";
    const PREFIX: &str = "expected a path such as \"/\" or \"/orders\", without a slash at its end";
    const UPSTREAM: &str = "expected a URL such as \"https://orders.example/v1\", without a query";

    let server =
        |setting: &str, expected: String| check(&format!("[server]\n{setting}\n"), &expected);
    server(
        "listen = \"localhost\"",
        "2:10: server.listen: invalid value: string \"localhost\", expected an address such as \
         \"127.0.0.1:8080\""
            .to_owned(),
    );
    server(
        "shutdown_timeout = 30",
        format!("2:20: server.shutdown_timeout: invalid value: integer `30`, {TIME}"),
    );

    let block = |setting: &str, expected: String| {
        check(&format!("{{ROUTE}}[routes.{setting}\n"), &expected);
    };
    block(
        "rate_limit]\nrequests = 0",
        "5:12: routes[0].rate_limit.requests: invalid value: integer `0`, expected a whole number from 1 \
         to 1000000"
            .to_owned(),
    );
    for per in ["0s", "5 parsecs", "25h", "99999999999999999999h", "s", ""] {
        block(
            &format!("rate_limit]\nper = \"{per}\""),
            format!("5:7: routes[0].rate_limit.per: invalid value: string \"{per}\", {TIME}"),
        );
    }
    block(
        "rate_limit]\nby = \"user\"",
        "5:6: routes[0].rate_limit.by: unknown variant `user`, expected `client` or `route`"
            .to_owned(),
    );
    block(
        "retry]\nbudget = 1.5",
        "5:10: routes[0].retry.budget: invalid value: floating point `1.5`, expected a number from 0.0 to \
         1.0"
            .to_owned(),
    );
    block(
        "cache]\nsize = \"64 MB\"",
        "5:8: routes[0].cache.size: invalid value: string \"64 MB\", expected a size such as \"512B\", \
         \"64KiB\", \"10MiB\" or \"1GiB\""
            .to_owned(),
    );

    for prefix in ["a", "/a/", "/a/..", "//a", "", "/ä", "/a?b"] {
        check(
            &format!("[[routes]]\nprefix = \"{prefix}\"\nupstream = \"https://a.example\"\n"),
            &format!("2:10: routes[0].prefix: invalid value: string \"{prefix}\", {PREFIX}"),
        );
    }
    for upstream in ["a.example:80", "/v1", "ftp://a.example", "http://a?b", "http://"] {
        check(
            &format!("[[routes]]\nprefix = \"/\"\nupstream = \"{upstream}\"\n"),
            &format!("3:12: routes[0].upstream: invalid value: string \"{upstream}\", {UPSTREAM}"),
        );
    }
}

#[test]
fn a_password_in_an_address_is_not_quoted() {
    let text = "[[routes]]\nprefix = \"/\"\nupstream = \"https://me:hunter2@a.example\"\n";
    let error = parse(text).unwrap_err().to_string();
    assert!(
        error.starts_with("g.toml:3:12: routes[0].upstream: invalid value: text with an `@`, ")
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn tells_what_no_value_shows_alone() {
    check(
        "{ROUTE}\n# Ä comment.\n{ROUTE}",
        "7:10: routes[1].prefix: `/a` is that of routes[0]: change one of them",
    );
    check(
        "[[routes]]\nprefix = \"/\"\nupstream = \"http://a.example\"\n[routes.auth.bearer]\n\
         token = { env = \"A\" }\n",
        "3:12: routes[0].upstream: credentials go over plain http to this machine alone: write `https`",
    );
}

#[test]
fn tells_of_a_burst_that_takes_for_ever() {
    let text = "{ROUTE}[routes.rate_limit]\nper = \"24h\"\nrequests = 1\nburst = 1000000\n";
    let config = parse(&text.replace("{ROUTE}", ROUTE)).unwrap();
    let error = Routes::new(&config, &Registry::new()).err().unwrap().to_string();
    assert!(error.starts_with("g.toml:7:9: routes[0].rate_limit.burst: "), "{error}");
}

#[test]
fn tells_what_is_wrong_with_a_secret_and_does_not_quote_it() {
    check(
        "{ROUTE}[routes.auth.bearer]\ntoken = \"hunter2\"\n",
        "5:9: routes[0].auth.bearer.token: a secret does not belong in this file: write \
         `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
    );
    check(
        "{ROUTE}[routes.auth.bearer]\ntoken = { vault = \"hunter2\" }\n",
        "5:11: routes[0].auth.bearer.token.vault: unknown variant `vault`, expected `env` or `file`",
    );

    let directory = env::temp_dir().join(format!("palisade-gateway-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in [("empty", "\n"), ("binary", "a\u{1}b"), ("good", "t0ps3cret\r\n")] {
        fs::write(directory.join(name), text).unwrap();
    }
    let at = directory.display();
    for (place, expected) in [
        (
            "env = \"PALISADE_UNSET\"",
            "the environment has no `PALISADE_UNSET`: set it, and start again".to_owned(),
        ),
        (
            "file = \"none\"",
            format!("cannot read the secret in {at}/none: No such file or directory (os error 2)"),
        ),
        ("file = \"empty\"", format!("{at}/empty is empty: put the secret there")),
        (
            "file = \"binary\"",
            "the token is empty or has letters other than visible ASCII: trim it".to_owned(),
        ),
        ("file = \"good\"", String::new()),
    ] {
        let text = format!("{ROUTE}[routes.auth.bearer]\ntoken = {{ {place} }}\n");
        let config = Config::parse("g.toml".to_owned(), text, directory.clone()).unwrap();
        let error = Routes::new(&config, &Registry::new()).err().map(|error| error.to_string());
        let expected = match &*expected {
            "" => None,
            expected => Some(format!("g.toml:5:9: routes[0].auth.bearer.token: {expected}")),
        };
        assert_eq!(error, expected);
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_example_is_what_it_says() {
    let config = parse(include_str!("../gateway.toml")).unwrap();

    let defaults = parse(ROUTE).unwrap();
    assert_eq!(format!("{:?}", config.server), format!("{:?}", defaults.server));
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn a_route_is_for_whole_segments() {
    for (prefix, path, uri) in [
        ("/", "/", Some("https://a.example/v1/")),
        ("/", "/b", Some("https://a.example/v1/b")),
        ("/a", "/a", Some("https://a.example/v1")),
        ("/a", "/a/", Some("https://a.example/v1/")),
        ("/a", "/a/b%2Fc", Some("https://a.example/v1/b%2Fc")),
        ("/a", "/ab", None),
        ("/a/b", "/a", None),
    ] {
        let text =
            format!("[[routes]]\nprefix = \"{prefix}\"\nupstream = \"https://a.example/v1/\"\n");
        let route = parse(&text).unwrap().routes.remove(0);
        let rest = route.prefix.get_ref().strip(path);
        let joined = rest.and_then(|rest| route.upstream.get_ref().join(rest, None));
        assert_eq!(joined.map(|uri| uri.to_string()).as_deref(), uri, "{prefix} {path}");
    }
    let root = parse(ROUTE).unwrap().routes.remove(0);
    let joined = root.upstream.get_ref().join("", Some("b=c")).unwrap();
    assert_eq!(joined, "https://a.example/?b=c");
    assert_eq!(root.upstream.get_ref().join(&"/x".repeat(40_000), None), None);
}
