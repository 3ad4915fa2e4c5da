//! What `contrib/` asks for is what is exported.

use std::collections::{BTreeMap, BTreeSet};

use palisade_core::Target;
use palisade_metrics::Format;
use serde_json::Value;

use crate::text::{ODD, filled, tell};

/// The labels that Prometheus adds to what it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// What operators are called that are not signs.
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

#[tokio::test(start_paused = true)]
async fn what_the_dashboard_asks_for_is_exported() {
    let scrape = Scrape::new().await;
    for (asks, legend) in dashboard() {
        assert_eq!(scrape.misses(&asks), [""; 0], "{asks:?}");
        let mut shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        assert!(shown.all(|label| asks.kept.contains(label)), "{legend}: {asks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_exported_is_on_the_dashboard() {
    let asked: BTreeSet<_> = dashboard().into_iter().flat_map(|(asks, _)| asks.metrics).collect();
    let scrape = Scrape::new().await;
    assert!(20 < scrape.families.len(), "{:?}", scrape.families);
    for (family, kind) in scrape.families {
        let suffixes: &[_] = match &*kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let used = suffixes.iter().any(|suffix| asked.contains(&format!("{family}{suffix}")));
        assert!(used, "{family} is on no panel");
    }
}

#[tokio::test(start_paused = true)]
async fn what_alerts_ask_for_is_exported() {
    let scrape = Scrape::new().await;
    for alert in alerts() {
        let asks = Asks::of(&alert.expression);
        assert!(!asks.metrics.is_empty(), "{}", alert.text);
        assert_eq!(scrape.misses(&asks), [""; 0], "{asks:?}");
        let mut told = alert.text.split("$labels.").skip(1).map(|rest| name(rest).0);
        assert!(told.all(|label| asks.kept.contains(label)), "{}: {asks:?}", alert.text);
    }
}

#[test]
fn alerts_say_what_is_wrong_and_what_to_do() {
    let alerts = alerts();
    assert!(6 <= alerts.len());
    for alert in alerts {
        for key in ["severity: ", "summary: ", "description: "] {
            assert!(alert.text.contains(key), "{key}in {}", alert.text);
        }
    }
}

#[test]
fn names_are_found_in_expressions() {
    for (expression, metrics, labels) in [
        ("one", "one", ""),
        (
            "rate(one_total{a=\"b} by (c)\", d!~'\\''}[5m:1m])",
            "one_total",
            "one_total.a one_total.d",
        ),
        ("sum by (a, b) (one) / sum(two)", "one two", "one.a one.b"),
        ("histogram_quantile(0.95, sum by (le) (rate(one[5m]))) > 2.5e-3", "one", "one.le"),
        ("(sum(one) or vector(0)) unless two{a=\"1\"} == 1", "one two", "two.a"),
        ("max by (a) (one or two * 2)", "one two", "one.a two.a"),
    ] {
        let asks = Asks::of(expression);
        let split = |text: &str| -> BTreeSet<String> {
            text.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(asks.metrics, split(metrics), "{expression}");
        let told = asks.labels.keys().map(|(metric, label)| format!("{metric}.{label}"));
        assert_eq!(told.collect::<BTreeSet<_>>(), split(labels), "{expression}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_exported_is_missed() {
    let scrape = Scrape::new().await;
    for (expression, missed) in [
        ("sum by (job, from) (palisade_breaker_transitions_total{to=~\"open|closed\"})", "closed"),
        ("palisade_breaker_state{state=~\"open|half_open\", job=\"a\"}", ""),
        ("palisade_breaker_state{state=\"ajar\"}", "ajar"),
        ("palisade_breaker_state{reason=~\"$reason\"}", "palisade_breaker_state.reason"),
        ("sum by (from) (palisade_retries_total)", "palisade_retries_total.from"),
        ("palisade_retries", "palisade_retries"),
        ("palisade_call_duration_seconds", "palisade_call_duration_seconds"),
    ] {
        let misses = scrape.misses(&Asks::of(expression));
        let expected: Vec<_> =
            Some(missed).filter(|missed| !missed.is_empty()).into_iter().collect();
        assert_eq!(misses, expected, "{expression}");
    }
}

/// What is exported where there is something of everything.
struct Scrape {
    /// By name, with `_total`: what each measures.
    families: BTreeMap<String, String>,
    /// By metric and label: the values.
    values: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Scrape {
    async fn new() -> Self {
        let metrics = filled().await;
        tell(&*metrics.observer(), Target::new(Some(&ODD), None, Some("api.example:8443")));
        let text = metrics.snapshot().render(Format::Prometheus);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let families = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let mut values = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // A series is spelled as a selector.
            let (series, _) = line.rsplit_once(' ').unwrap();
            let asks = Asks::of(series);
            let metric = asks.metrics.into_iter().next().unwrap();
            let labels = values.entry(metric).or_default();
            for ((_, label), value) in asks.labels {
                labels.entry(label).or_default().extend(value);
            }
        }
        Self { families, values }
    }

    /// The metrics, the labels of metrics, and the values that are not exported.
    fn misses(&self, asks: &Asks) -> Vec<String> {
        let mut misses = Vec::new();
        for metric in &asks.metrics {
            if !self.values.contains_key(metric) {
                misses.push(metric.clone());
            }
        }
        for ((metric, label), wanted) in &asks.labels {
            let Some(labels) = self.values.get(metric) else {
                continue;
            };
            if ADDED.contains(&label.as_str()) {
                continue;
            }
            match labels.get(label) {
                Some(there) => misses.extend(wanted.difference(there).cloned()),
                None => misses.push(format!("{metric}.{label}")),
            }
        }
        misses
    }
}

/// What an expression asks for.
#[derive(Debug, Default)]
struct Asks {
    metrics: BTreeSet<String>,
    /// By metric and label: the values that are wanted by name.
    labels: BTreeMap<(String, String), BTreeSet<String>>,
    /// The labels that are left of those of its series.
    kept: BTreeSet<String>,
}

impl Asks {
    /// Of PromQL, or of a query for the values of a label.
    fn of(expression: &str) -> Self {
        let values_of =
            expression.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let Some((series, label)) = values_of.and_then(|inner| inner.rsplit_once(',')) else {
            return Self::read(&tokens(expression));
        };
        let mut asks = Self::read(&tokens(series));
        asks.group(asks.metrics.clone(), &[label.trim()]);
        asks
    }

    fn read(tokens: &[Token<'_>]) -> Self {
        let mut asks = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let Token::Name(name) = token else {
                continue;
            };
            let next = tokens.get(at).copied();
            match (*name, next) {
                ("by", Some(Token::Sign('('))) => {
                    let labels = &tokens[at + 1..at + closing(&tokens[at..])];
                    at += labels.len() + 2;
                    let inner = &tokens[at..at + closing(&tokens[at..])];
                    asks.group(Self::read(inner).metrics, &names(labels));
                }
                ("without" | "on" | "ignoring" | "group_left" | "group_right", _) => {
                    panic!("{name} is not understood")
                }
                (word, _) if WORDS.contains(&word) => {}
                // A function, or an aggregation.
                (_, Some(Token::Sign('(') | Token::Name("by"))) => {}
                (metric, Some(Token::Sign('{'))) => {
                    let matchers = &tokens[at + 1..at + closing(&tokens[at..])];
                    at += matchers.len() + 2;
                    asks.select(metric, matchers);
                }
                (metric, _) => asks.select(metric, &[]),
            }
        }
        asks
    }

    /// The series of a metric with such labels.
    fn select(&mut self, metric: &str, matchers: &[Token<'_>]) {
        self.metrics.insert(metric.to_owned());
        for matcher in matchers.split(|token| *token == Token::Sign(',')) {
            // There may be none, and a comma after the last.
            if matcher.is_empty() {
                continue;
            }
            let [Token::Name(label), signs @ .., Token::Text(value)] = matcher else {
                panic!("{matcher:?} of {metric}");
            };
            let wanted: Vec<_> = match signs {
                // Variables are filled in by Grafana.
                _ if value.contains('$') => Vec::new(),
                [Token::Sign('=')] => vec![*value],
                [Token::Sign('='), Token::Sign('~')] => value.split('|').collect(),
                _ => Vec::new(),
            };
            let wanted = wanted.into_iter().filter(|value| !value.is_empty()).map(str::to_owned);
            let key = (metric.to_owned(), (*label).to_owned());
            self.labels.entry(key).or_default().extend(wanted);
        }
    }

    /// Series of these metrics are summed up, and these labels are left.
    fn group(&mut self, metrics: BTreeSet<String>, labels: &[&str]) {
        assert!(!metrics.is_empty(), "nothing has {labels:?}");
        self.kept.extend(labels.iter().map(|label| (*label).to_owned()));
        for metric in metrics {
            for label in labels {
                self.labels.entry((metric.clone(), (*label).to_owned())).or_default();
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    Text(&'a str),
    Sign(char),
}

/// All but numbers and ranges.
fn tokens(expression: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let (name, after) = name(rest);
                tokens.push(Token::Name(name));
                rest = after;
            }
            // With its exponent, or its unit. The sign of an exponent is one of its own.
            '0'..='9' => {
                rest = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_alphanumeric());
            }
            '"' | '\'' => {
                let mut escaped = false;
                let ends = |c| {
                    let ends = c == first && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                let (text, after) = rest[1..].split_at(rest[1..].find(ends).expect("an end"));
                tokens.push(Token::Text(text));
                rest = &after[1..];
            }
            '[' => rest = rest.split_once(']').expect("an end").1,
            sign => {
                assert!("(){},=!~<>+-*/".contains(sign), "{sign} in {expression}");
                tokens.push(Token::Sign(sign));
                rest = &rest[1..];
            }
        }
        rest = rest.trim_start();
    }
    tokens
}

/// The name that it begins with, and the rest.
fn name(text: &str) -> (&str, &str) {
    let ends = |c: char| c != '_' && c != ':' && !c.is_ascii_alphanumeric();
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn names<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let names = tokens.iter().filter_map(|token| match token {
        Token::Name(name) => Some(*name),
        _ => None,
    });
    names.collect()
}

/// Where the bracket closes that it begins with.
fn closing(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    let closes = |token: &Token<'_>| {
        match token {
            Token::Sign('(' | '{') => depth += 1,
            Token::Sign(')' | '}') => depth -= 1,
            _ => {}
        }
        depth == 0
    };
    tokens.iter().position(closes).expect("brackets are closed")
}

/// What the panels and variables of the dashboard ask for, and their legends.
fn dashboard() -> Vec<(Asks, String)> {
    let json: Value = serde_json::from_str(&contrib("grafana/palisade.json")).unwrap();
    let panels = json["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let targets = targets.map(|target| (&target["expr"], target["legendFormat"].as_str().unwrap()));
    let variables = json["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query");
    let queries = queries.map(|variable| (&variable["query"]["query"], ""));
    let all: Vec<_> = targets
        .chain(queries)
        .map(|(expression, legend)| (Asks::of(expression.as_str().unwrap()), legend.to_owned()))
        .collect();
    assert!(30 < all.len());
    all
}

struct Alert {
    expression: String,
    text: String,
}

/// The alerts, as far as YAML is written there.
fn alerts() -> Vec<Alert> {
    let rules = contrib("prometheus/palisade.rules.yml");
    let alerts = rules.split("- alert: ").skip(1);
    let alerts = alerts.map(|text| {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with("expr: "));
        let first = lines.next().expect("an expression");
        let inner = lines.take_while(|line| line.is_empty() || indent(first) < indent(line));
        let on_its_line = first.trim_start().trim_start_matches("expr: ");
        let on_its_line = Some(on_its_line).filter(|text| !["|", ">-"].contains(text));
        let expression: Vec<_> = on_its_line.into_iter().chain(inner).collect();
        Alert { expression: expression.join("\n"), text: text.to_owned() }
    });
    alerts.collect()
}

fn contrib(path: &str) -> String {
    let path = format!("{}/../../contrib/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
