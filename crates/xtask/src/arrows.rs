//! `cargo xtask arrows`: do the dependencies between our crates point down? (STYLE.md, rule 2.)

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run::{Failure, Outcome, command, output};

/// The rows of STYLE.md, rule 2, from the lowest to the highest.
///
/// A crate depends only on crates of lower rows. What nobody may depend on stands in the highest.
const ROWS: &[&[&str]] = &[
    &["palisade-core", "palisade-body", "palisade-settings"],
    &["palisade-fields", "palisade-keyed"],
    &[
        "palisade-retry",
        "palisade-circuit-breaker",
        "palisade-cache",
        "palisade-auth",
        "palisade-rate-limit",
        "palisade-metrics",
        // Not a layer, but it too knows the base alone.
        TESTKIT,
    ],
    &["palisade-redis", "palisade-otel"],
    &["palisade-client"],
    &["palisade-paginate", "palisade-graphql", "palisade-openapi"],
    &["palisade"],
    &["palisade-examples", "palisade-tests", "xtask"],
];

/// For dev-dependencies alone, whatever the row.
const TESTKIT: &str = "palisade-testkit";

/// # Errors
///
/// Fails with one line for each dependency that breaks the rule.
pub(crate) fn run() -> Outcome {
    match violations(&packages()?) {
        violations if violations.is_empty() => Ok(()),
        violations => Err(Failure::new(violations.join("\n       "))),
    }
}

/// A package of the workspace.
#[derive(Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    published: bool,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, PartialEq)]
struct Dependency {
    name: String,
    kind: Kind,
    /// Given by path, without a version: cargo leaves such a dev-dependency out when it publishes.
    path_only: bool,
}

impl Package {
    pub(crate) fn depends_on(&self, name: &str) -> bool {
        self.dependencies.iter().any(|dependency| dependency.name == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

fn violations(packages: &[Package]) -> Vec<String> {
    let ours: BTreeMap<&str, &Package> =
        packages.iter().map(|package| (&*package.name, package)).collect();

    let mut violations = Vec::new();
    for package in packages {
        let Some(row) = row(package) else {
            violations.push(format!(
                "{} stands in no row: \
                 add it to rule 2 of STYLE.md and to ROWS in crates/xtask/src/arrows.rs",
                package.name,
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = ours.get(&*dependency.name) else {
                continue;
            };
            if let Some(reason) = refusal(package, row, dependency, target) {
                violations
                    .push(
                        format!("{} must not depend on {}: {reason}", package.name, target.name,),
                    );
            }
        }
    }
    violations
}

/// Why the package, which stands in this row, may not have this dependency, if it may not.
fn refusal(
    package: &Package,
    package_row: usize,
    dependency: &Dependency,
    target: &Package,
) -> Option<&'static str> {
    // What stands in no row is reported once, as a package.
    let points_down = row(target)? < package_row;

    match dependency.kind {
        Kind::Dev if dependency.path_only || !package.published => None,
        Kind::Dev if !target.published => {
            Some("give the dev-dependency by path alone, for it is not published")
        }
        Kind::Dev if points_down => None,
        Kind::Dev => {
            Some("give the dev-dependency by path alone, or neither can be published first")
        }
        Kind::Normal | Kind::Build if target.name == TESTKIT => {
            Some("it is for dev-dependencies alone")
        }
        Kind::Normal | Kind::Build if package.published && !target.published => {
            Some("it is not published")
        }
        Kind::Normal | Kind::Build if points_down => None,
        Kind::Normal | Kind::Build => Some("it does not stand in a lower row"),
    }
}

fn row(package: &Package) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&&*package.name))
}

/// Reads the packages of the workspace.
pub(crate) fn packages() -> Outcome<Vec<Package>> {
    let metadata = output(&mut command("cargo metadata --no-deps --format-version 1"))?;
    serde_json::from_str(&metadata)
        .ok()
        .as_ref()
        .and_then(packages_of)
        .ok_or_else(|| Failure::new("cargo metadata prints something unknown"))
}

fn packages_of(metadata: &Value) -> Option<Vec<Package>> {
    let packages = metadata["packages"].as_array()?;
    packages.iter().map(package_of).collect()
}

fn package_of(package: &Value) -> Option<Package> {
    let dependencies = package["dependencies"].as_array()?;
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        // A list of registries; null stands for all of them.
        published: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        dependencies: dependencies.iter().map(dependency_of).collect::<Option<_>>()?,
    })
}

fn dependency_of(dependency: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: dependency["name"].as_str()?.to_owned(),
        kind: match dependency["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(_) => return None,
        },
        path_only: dependency["path"].is_string() && dependency["req"] == "*",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(name: &str) -> Package {
        Package { name: name.to_owned(), published: true, dependencies: Vec::new() }
    }

    fn unpublished(name: &str) -> Package {
        Package { published: false, ..published(name) }
    }

    impl Package {
        fn needs(mut self, kind: Kind, name: &str) -> Self {
            self.dependencies.push(Dependency { name: name.to_owned(), kind, path_only: false });
            self
        }

        fn needs_by_path(mut self, kind: Kind, name: &str) -> Self {
            self.dependencies.push(Dependency { name: name.to_owned(), kind, path_only: true });
            self
        }
    }

    /// Checks what is said about a package that stands beside one package of every kind.
    fn check(package: Package, expected: &[&str]) {
        let mut packages = vec![
            published("palisade-core"),
            published("palisade-cache"),
            published("palisade-client"),
            published("palisade"),
            unpublished(TESTKIT),
            unpublished("palisade-tests"),
        ];
        packages.retain(|other| other.name != package.name);
        packages.push(package);
        assert_eq!(violations(&packages), expected);
    }

    #[test]
    fn lets_a_crate_use_lower_rows_and_strangers() {
        for name in ["palisade-core", "tower", "palisade-elsewhere"] {
            for kind in [Kind::Normal, Kind::Build, Kind::Dev] {
                check(published("palisade-retry").needs(kind, name), &[]);
            }
        }
        check(published("palisade-redis").needs(Kind::Normal, "palisade-cache"), &[]);
    }

    #[test]
    fn refuses_another_crate_of_the_same_row() {
        for kind in [Kind::Normal, Kind::Build] {
            check(
                published("palisade-retry").needs(kind, "palisade-cache"),
                &[
                    "palisade-retry must not depend on palisade-cache: it does not stand in a lower row",
                ],
            );
        }
    }

    #[test]
    fn refuses_a_crate_of_a_higher_row() {
        check(
            published("palisade-core").needs(Kind::Normal, "palisade-client"),
            &["palisade-core must not depend on palisade-client: it does not stand in a lower row"],
        );
    }

    #[test]
    fn keeps_the_testkit_to_dev_dependencies() {
        for kind in [Kind::Normal, Kind::Build] {
            check(
                unpublished("palisade-examples").needs_by_path(kind, TESTKIT),
                &[
                    "palisade-examples must not depend on palisade-testkit: it is for dev-dependencies alone",
                ],
            );
        }
        check(published("palisade-core").needs_by_path(Kind::Dev, TESTKIT), &[]);
    }

    #[test]
    fn keeps_the_testkit_to_the_base() {
        check(unpublished(TESTKIT).needs(Kind::Normal, "palisade-core"), &[]);
        check(
            unpublished(TESTKIT).needs(Kind::Normal, "palisade-cache"),
            &[
                "palisade-testkit must not depend on palisade-cache: it does not stand in a lower row",
            ],
        );
    }

    #[test]
    fn keeps_unpublished_crates_out_of_published_ones() {
        check(
            published("palisade").needs_by_path(Kind::Normal, "palisade-tests"),
            &["palisade must not depend on palisade-tests: it is not published"],
        );
    }

    #[test]
    fn wants_unpublished_dev_dependencies_by_path_alone() {
        check(
            published("palisade-retry").needs(Kind::Dev, TESTKIT),
            &["palisade-retry must not depend on palisade-testkit: \
               give the dev-dependency by path alone, for it is not published"],
        );
    }

    #[test]
    fn wants_dev_dependencies_that_do_not_point_down_by_path_alone() {
        check(
            published("palisade-retry").needs(Kind::Dev, "palisade"),
            &["palisade-retry must not depend on palisade: \
               give the dev-dependency by path alone, or neither can be published first"],
        );
        check(published("palisade-retry").needs_by_path(Kind::Dev, "palisade"), &[]);
    }

    #[test]
    fn reports_a_crate_that_stands_in_no_row_once() {
        check(
            published("palisade-moat").needs(Kind::Normal, "palisade"),
            &["palisade-moat stands in no row: \
               add it to rule 2 of STYLE.md and to ROWS in crates/xtask/src/arrows.rs"],
        );
    }

    #[test]
    fn reads_what_cargo_says() {
        let metadata = serde_json::json!({ "packages": [{
            "name": "palisade-retry",
            "publish": null,
            "dependencies": [
                { "name": "palisade-core", "kind": null, "req": "^0.1.0", "path": "/palisade-core" },
                { "name": "palisade-testkit", "kind": "dev", "req": "*", "path": "/palisade-testkit" },
                { "name": "http", "kind": "build", "req": "*" },
            ],
        }, {
            "name": "xtask",
            "publish": [],
            "dependencies": [],
        }]});

        let packages = packages_of(&metadata).unwrap();

        assert_eq!(
            packages,
            [
                published("palisade-retry")
                    .needs(Kind::Normal, "palisade-core")
                    .needs_by_path(Kind::Dev, TESTKIT)
                    .needs(Kind::Build, "http"),
                unpublished("xtask"),
            ],
        );
    }

    #[test]
    fn hold_in_this_workspace() {
        let packages = packages().unwrap();

        assert!(packages.iter().any(|package| package.name == "palisade"));
        assert_eq!(violations(&packages), [""; 0]);
    }
}
