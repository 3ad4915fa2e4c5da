use std::{
    env, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use palisade_auth::{
    AuthError, Chain, Claims, ClientAuth, ClientCredentials, CustomGrant, FromEnv, FromFile,
    JwtBearer, NotLoaded, Reason, Recovery, Secret, SelfSigned, Token, TokenExchange, TokenSource,
    Wanted, token_fn,
};
use palisade_core::find_cause;

use crate::{
    endpoint::{Signer, claims},
    token_server::{TokenServer, now},
};

async fn fetch(source: &impl TokenSource) -> Result<Token, AuthError> {
    source.fetch(Wanted::first(now())).await
}

#[tokio::test]
async fn client_credentials_ask_for_what_was_set() {
    let server = TokenServer::new();
    let source = ClientCredentials::new(server.endpoint(), ClientAuth::none("me"))
        .scope("a b")
        .resource("https://one.example")
        .resource("https://two.example")
        .audience("three")
        .param("organization", "org");
    let token = fetch(&source).await.unwrap();
    assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
    assert_eq!(token.asked(), Some(now()));
    assert_eq!(
        server.form(),
        "grant_type=client_credentials&scope=a+b&resource=https%3A%2F%2Fone.example\
         &resource=https%3A%2F%2Ftwo.example&audience=three&organization=org&client_id=me"
    );

    // What a request asks for goes first.
    source.fetch(Wanted::first(now()).scope(Some("c"))).await.unwrap();
    assert_eq!(server.param("scope").as_deref(), Some("c"));
}

#[tokio::test]
async fn a_custom_grant_has_a_type_and_parameters() {
    let server = TokenServer::new();
    let source = CustomGrant::new(server.endpoint(), "urn:example:knock")
        .client(ClientAuth::none("me"))
        .param("knocks", "3");
    fetch(&source).await.unwrap();
    assert_eq!(server.form(), "grant_type=urn%3Aexample%3Aknock&knocks=3&client_id=me");
}

#[tokio::test]
async fn a_token_that_is_made_here_expires_as_it_says() {
    let claim = Claims::new().issuer("app").audience("api");
    let source = SelfSigned::new(Signer, claim).lifetime(Duration::from_secs(600));
    let token = fetch(&source).await.unwrap();
    assert_eq!(token.scheme(), "Bearer");
    assert_eq!(token.lifetime(), Some(Duration::from_secs(590)));
    let made = claims(token.secret().expose());
    assert_eq!((&made["iss"], &made["aud"]), (&"app".into(), &"api".into()));
    assert_eq!((&made["iat"], &made["exp"]), (&1_799_999_990.into(), &1_800_000_590.into()));
    assert!(made.get("scope").is_none());

    let scoped = source.fetch(Wanted::first(now()).scope(Some("read"))).await.unwrap();
    let scoped = claims(scoped.secret().expose());
    assert_eq!(scoped["scope"], "read");
    assert_ne!(scoped["jti"], made["jti"]);

    let token = fetch(&source.backdate(Duration::ZERO)).await.unwrap();
    assert_eq!(token.lifetime(), Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn a_jwt_is_given_for_a_token() {
    let server = TokenServer::new();
    let assertion = SelfSigned::new(Signer, Claims::new().issuer("robot"));
    let source = JwtBearer::new(server.endpoint(), assertion).scope("read");
    fetch(&source).await.unwrap();
    let first = server.param("assertion").unwrap();
    assert_eq!(claims(&first)["iss"], "robot");
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert_eq!(server.param("grant_type").as_deref(), Some(grant));
    assert_eq!(server.param("scope").as_deref(), Some("read"));
    assert_eq!(server.param("client_id"), None);

    // Each time another one.
    fetch(&source).await.unwrap();
    assert_ne!(server.param("assertion"), Some(first));
}

#[tokio::test]
async fn a_token_is_exchanged() {
    let server = TokenServer::new();
    let subject = token_fn(|_| async { Ok(Token::bearer("user")?) });
    let source = TokenExchange::new(server.endpoint(), subject)
        .audience("//iam.example/pool")
        .client(ClientAuth::basic("me", "secret"));
    fetch(&source).await.unwrap();
    assert_eq!(
        server.form(),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=user\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
         &audience=%2F%2Fiam.example%2Fpool"
    );

    let actor = token_fn(|_| async { Ok(Token::bearer("robot")?) });
    let source = source
        .subject_type(TokenExchange::ID_TOKEN)
        .actor(actor, TokenExchange::JWT)
        .requested_type(TokenExchange::ACCESS_TOKEN);
    fetch(&source).await.unwrap();
    for (name, value) in [
        ("subject_token_type", TokenExchange::ID_TOKEN),
        ("actor_token", "robot"),
        ("actor_token_type", TokenExchange::JWT),
        ("requested_token_type", TokenExchange::ACCESS_TOKEN),
    ] {
        assert_eq!(server.param(name).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn a_workload_is_known_by_its_file() {
    let (server, file) = (TokenServer::new(), TestFile::new("workload"));
    let subject = FromFile::new(file.path());
    let source = TokenExchange::new(server.endpoint(), subject).subject_type(TokenExchange::JWT);
    for written in ["one\n", "two\n"] {
        file.write(written);
        fetch(&source).await.unwrap();
        assert_eq!(server.param("subject_token").as_deref(), Some(written.trim()));
    }
    // The file is gone, and nothing is asked.
    file.remove();
    assert_eq!(fetch(&source).await.unwrap_err().recovery(), Recovery::FixRequest);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_file_is_read_when_it_has_changed() {
    let file = TestFile::new("changed");
    let source = FromFile::new(file.path()).scheme("Token");
    file.write("  one\r\n");
    let one = fetch(&source).await.unwrap();
    assert_eq!(one.header(), "Token one");
    assert_eq!(one.lifetime(), Some(Duration::from_secs(300)));

    // As good as before, unless it was refused.
    let again = |reason| source.fetch(Wanted::first(now()).instead_of(&one, reason));
    assert_eq!(again(Reason::Expiring).await.unwrap().header(), "Token one");
    let error = again(Reason::Refused).await.unwrap_err();
    assert_eq!(error.recovery(), Recovery::Reauthenticate);
    file.write("two");
    assert_eq!(again(Reason::Refused).await.unwrap().header(), "Token two");

    let source = source.clone().reread_after(Duration::from_secs(7));
    assert_eq!(fetch(&source).await.unwrap().lifetime(), Some(Duration::from_secs(7)));
    // {"exp":1800000060}
    file.write("e30.eyJleHAiOjE4MDAwMDAwNjB9.c2ln");
    assert_eq!(fetch(&source).await.unwrap().lifetime(), Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_file_without_a_token_is_an_error() {
    let file = TestFile::new("without");
    let source = FromFile::new(file.path());
    for (text, recovery) in [
        ("", Recovery::FixRequest),
        (" \n", Recovery::FixRequest),
        ("canary\ncanary", Recovery::Fatal),
        ("canary\u{e9}", Recovery::Fatal),
    ] {
        file.write(text);
        let error = fetch(&source).await.unwrap_err();
        assert_eq!(error.recovery(), recovery, "{text:?}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn a_token_is_taken_from_the_environment() {
    // Cargo sets it for tests.
    let source = FromEnv::new("CARGO_PKG_NAME");
    let token = fetch(&source).await.unwrap();
    assert_eq!(
        (token.header(), token.lifetime()),
        (&"Bearer palisade-auth".parse().unwrap(), None)
    );

    let file = TestFile::new("dotenv");
    let text = "# comment\nexport API_TOKEN='t$1 #'\nOTHER=\"two\"\nEMPTY=\nCARGO_PKG_NAME=no\n";
    file.write(text);
    let from = |name: &str| FromEnv::new(name).or_dotenv(file.path());
    assert_eq!(fetch(&from("CARGO_PKG_NAME")).await.unwrap().secret().expose(), "palisade-auth");
    assert_eq!(fetch(&from("OTHER").scheme("Token")).await.unwrap().header(), "Token two");
    assert_eq!(Secret::from_dotenv(file.path(), "API_TOKEN").unwrap().expose(), "t$1 #");
    for name in ["EMPTY", "NONE"] {
        let error = fetch(&from(name)).await.unwrap_err();
        assert_eq!(error.recovery(), Recovery::FixRequest);
        let cause = find_cause::<NotLoaded>(&error).unwrap();
        assert_eq!(cause.to_string(), format!("`{name}` is not set"));
    }
    file.write("OTHER='canary");
    let error = fetch(&from("OTHER")).await.unwrap_err();
    assert!(!format!("{error} {error:?} {:?}", find_cause::<NotLoaded>(&error)).contains("canary"));
}

#[test]
fn a_file_is_read_without_a_runtime() {
    let file = TestFile::new("alone");
    file.write("one");
    let source = FromFile::new(file.path());
    let token = futures_util::FutureExt::now_or_never(fetch(&source));
    assert_eq!(token.expect("nothing to wait for").unwrap().header(), "Bearer one");
}

#[test]
fn a_secret_is_loaded() {
    let file = TestFile::new("secret");
    file.write("hunter2\n");
    assert_eq!(Secret::from_file(file.path()).unwrap().expose(), "hunter2");
    assert_eq!(Secret::from_env("CARGO_PKG_NAME").unwrap().expose(), "palisade-auth");
    file.remove();
    assert!(Secret::from_file(file.path()).is_err());
    assert!(Secret::from_dotenv(file.path(), "A").is_err());
}

/// Counts how often it is asked, and does as it is told.
fn told(answer: Result<&'static str, Recovery>) -> (impl TokenSource, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let source = token_fn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            match answer {
                Ok(token) => Ok(Token::bearer(token)?),
                Err(recovery) => Err(AuthError::new("told so", recovery)),
            }
        }
    });
    (source, asked)
}

#[tokio::test]
async fn a_chain_goes_on_where_somebody_has_to_act() {
    let retry = Recovery::Retry { after: Some(Duration::from_secs(1)) };
    for (first, goes_on) in [
        (Recovery::Reauthenticate, true),
        (Recovery::FixRequest, true),
        (retry, false),
        (Recovery::Fatal, false),
    ] {
        let (one, _) = told(Err(first));
        let (two, asked) = told(Ok("t"));
        let found = fetch(&one.or(two)).await;
        assert_eq!(asked.load(Ordering::Relaxed) == 1, goes_on);
        assert_eq!(
            found.map(|_| ()).map_err(|error| error.recovery()),
            if goes_on { Ok(()) } else { Err(first) }
        );
    }
}

#[tokio::test]
async fn a_chain_remembers_the_winner() {
    let (one, first) = told(Err(Recovery::Reauthenticate));
    let (two, second) = told(Ok("t"));
    let (three, third) = told(Ok("never"));
    let chain = one.or(two).or(three);
    let clone = chain.clone();
    for chain in [&chain, &chain, &clone] {
        assert_eq!(fetch(chain).await.unwrap().header(), "Bearer t");
    }
    let counts = || [&first, &second, &third].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts(), [1, 3, 0]);
    chain.reset();
    assert_eq!(fetch(&clone).await.unwrap().header(), "Bearer t");
    assert_eq!(counts(), [2, 4, 0], "somebody may have logged in anew");
}

#[tokio::test]
async fn a_chain_that_is_at_its_end_says_what_the_first_one_said() {
    let (one, first) = told(Err(Recovery::Reauthenticate));
    let (two, second) = told(Err(Recovery::FixRequest));
    let chain = Chain::new(one).or(two);
    assert_eq!(fetch(&chain).await.unwrap_err().recovery(), Recovery::Reauthenticate);
    assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_chain_comes_back_to_the_first_one() {
    let file = TestFile::new("chain");
    let chain = FromFile::new(file.path()).or(FromEnv::new("CARGO_PKG_NAME"));
    let env = fetch(&chain).await.unwrap();
    assert_eq!(env.header(), "Bearer palisade-auth");
    file.write("fresh");
    let wanted = Wanted::first(now()).instead_of(&env, Reason::Refused);
    assert_eq!(chain.fetch(wanted).await.unwrap().header(), "Bearer fresh");
}

/// A file that is gone after the test.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str) -> Self {
        let file =
            Self(env::temp_dir().join(format!("palisade-auth-{}-{name}", std::process::id())));
        file.remove();
        file
    }

    fn path(&self) -> &PathBuf {
        &self.0
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        self.remove();
    }
}
