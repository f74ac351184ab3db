//! Which crate may depend on which.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::failure;

/// What each crate may depend on among those that the arrows of ARCHITECTURE.md are about: our own
/// crates and the one that knows Python.
const ARROWS: [(&str, &[&str]); 11] = [
    ("board", &[]),
    ("http1", &[]),
    ("edge", &["oxicorn-http1"]),
    ("settings", &[]),
    ("logs", &[]),
    ("tls", &[]),
    ("watch", &[]),
    ("websocket", &[]),
    (
        "engine",
        &[
            "oxicorn-board",
            "oxicorn-edge",
            "oxicorn-http1",
            "oxicorn-settings",
            "oxicorn-logs",
            "oxicorn-websocket",
        ],
    ),
    ("arbiter", &["oxicorn-board", "oxicorn-settings"]),
    (
        "native",
        &[
            "oxicorn-board",
            "oxicorn-edge",
            "oxicorn-http1",
            "oxicorn-settings",
            "oxicorn-logs",
            "oxicorn-websocket",
            "oxicorn-engine",
            "oxicorn-arbiter",
            "oxicorn-tls",
            "oxicorn-watch",
            "pyo3",
            "pyo3-build-config",
            "pyo3-ffi",
        ],
    ),
];

/// Checks the manifest of every crate.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    let folder = root.join("crates");
    for entry in fs::read_dir(&folder).map_err(|error| failure(&folder, &error))? {
        let name = entry.map_err(|error| failure(&folder, &error))?.file_name();
        let name = name.to_string_lossy();
        let path = folder.join(&*name).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).map_err(|error| failure(&path, &error))?;
        findings.extend(manifest_findings(&name, &manifest));
    }
    Ok(findings)
}

fn manifest_findings(name: &str, manifest: &str) -> Vec<Finding> {
    let allowed = ARROWS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, allowed)| *allowed);
    let finding = |problem| Finding {
        place: format!("crates/{name}/Cargo.toml"),
        rule: "arrows",
        problem,
        fix: "depend along the arrows of ARCHITECTURE.md, or change them there and in xtask",
    };
    match allowed {
        None => vec![finding("a crate that the arrows do not know".into())],
        Some(allowed) => dependencies(manifest)
            .filter(|name| name.starts_with("oxicorn-") || name.starts_with("pyo3"))
            .filter(|name| !allowed.contains(name))
            .map(|name| finding(format!("depends on {name}")))
            .collect(),
    }
}

/// The names in the tables of dependencies, those for tests apart.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.contains("dependencies]") && !line.contains("dev-dependencies]");
            return None;
        }
        let name = line
            .split(['=', '.', ' '])
            .next()
            .filter(|name| !name.is_empty())?;
        (inside && !name.starts_with('#')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_against_the_arrows_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\noxicorn-engine.workspace = true\n";
        let findings = manifest_findings("http1", manifest);
        assert_eq!(findings[0].problem, "depends on oxicorn-engine");
        assert!(manifest_findings("native", manifest).is_empty());
    }

    #[test]
    fn only_native_may_depend_on_pyo3() {
        let manifest = "[dependencies]\nlog = \"1\"\npyo3 = { workspace = true }\n";
        assert_eq!(manifest_findings("engine", manifest).len(), 1);
        assert!(manifest_findings("native", manifest).is_empty());
    }

    #[test]
    fn dependencies_of_tests_are_free() {
        let manifest = "[dev-dependencies]\noxicorn-engine.workspace = true\n";
        assert!(manifest_findings("http1", manifest).is_empty());
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_eq!(manifest_findings("misc", "").len(), 1);
    }
}
