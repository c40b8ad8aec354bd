//! The image, compose, the manifests, the unit: each passes, and a seeded mistake in each does not.

use crate::{PROGRAM, Scratch, changed, full, passes, path, refuses, run, text, tool};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn the_dockerfile_passes_its_linter() {
    if !full("the linter of Dockerfiles") {
        return;
    }
    passes(tool("hadolint"), &["deploy/Dockerfile"]);
    let scratch = Scratch::new();
    for (from, to) in [("FROM rust:1.95-slim-bookworm", "FROM rust"), ("COPY . .", "COPPY . .")] {
        let wrong = scratch.write("Dockerfile", &changed(&text("deploy/Dockerfile"), from, to));
        refuses(tool("hadolint"), &[&wrong]);
    }
}

/// What the image is built from is enough for cargo: every target of the manifest is there.
#[test]
fn the_build_context_is_whole() {
    let scratch = Scratch::new();
    let ignore = text(".dockerignore");
    let wanted = ignore.lines().filter_map(|line| line.strip_prefix('!'));
    for pattern in wanted {
        let found = passes(
            "git",
            &[
                "ls-files",
                "--cached",
                "--others",
                "--exclude-standard",
                "--",
                &format!(":(glob){pattern}"),
                &format!(":(glob){pattern}/**"),
            ],
        );
        assert!(!found.is_empty(), "{pattern} names nothing");
        for file in found.lines() {
            let to = scratch.0.path().join(file);
            fs::create_dir_all(to.parent().expect("a file")).expect("a directory");
            fs::copy(path(file), to).expect("copied");
        }
    }
    let missing = || {
        let manifest = scratch.0.path().join("Cargo.toml").display().to_string();
        let arguments = ["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1", "--manifest-path"];
        let (_, told) = run("cargo", &[&arguments[..], &[&manifest]].concat());
        let json = told.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{told}"));
        let json: Value = serde_json::from_str(json).expect("JSON");
        let targets = json["packages"][0]["targets"].as_array().expect("targets").clone();
        let files = targets.iter().filter_map(|target| target["src_path"].as_str());
        files.filter(|file| !Path::new(file).exists()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(missing(), [""; 0]);
    fs::remove_dir_all(scratch.0.path().join("tests/gateway")).expect("there");
    assert_eq!(missing().len(), 1, "a seeded mistake");
}

#[test]
fn the_compose_file_is_one() {
    if !full("a parser of compose files") {
        return;
    }
    let parse = "import sys, compose_spec; compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read())";
    passes(tool("python"), &["-c", parse, "deploy/compose.yaml"]);
    let compose = text("deploy/compose.yaml");
    // What Compose took before it had its own specification.
    let top = compose.lines().filter(|line| !line.starts_with([' ', '#']) && line.contains(':'));
    assert_eq!(top.collect::<Vec<_>>(), ["services:"], "an older Compose refuses more");
    let scratch = Scratch::new();
    for (from, to) in [("cap_drop", "cap_dropp"), ("service_healthy", "healthy"), ("45s", "45 parsecs")] {
        let wrong = scratch.write("compose.yaml", &changed(&compose, from, to));
        refuses(tool("python"), &["-c", parse, &wrong]);
    }
    // What it mounts is there.
    for line in compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")) {
        let file = line.split(':').next().expect("a path");
        assert!(path("deploy").join(file).exists(), "{file}");
    }
}

#[test]
fn the_manifests_are_what_kubernetes_takes() {
    if !full("kubectl and the schemas of Kubernetes") {
        return;
    }
    let scratch = Scratch::new();
    let made = example(&scratch, true);
    let all = scratch.write("all.yaml", &made);
    let told = passes(tool("kubernetes-validate"), &["--strict", &all]);
    for kind in ["configmap", "deployment", "networkpolicy"] {
        assert!(told.contains(&format!("passed for resource {kind}/")), "{kind}: {told}");
    }
    // The schema of PodMonitor is not Kubernetes' own; the part of it that is used is beside this test.
    let monitor = made.split("---\n").find(|document| document.contains("kind: PodMonitor")).expect("a PodMonitor");
    let check = "import json, sys, yaml, jsonschema; \
                 jsonschema.validate(yaml.safe_load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let schema = "tests/deploy/podmonitor.schema.json";
    passes(tool("python"), &["-c", check, schema, &scratch.write("monitor.yaml", monitor)]);
    for (kind, from, to) in [
        ("PodMonitor", "podMetricsEndpoints", "podMetricEndpoints"),
        ("Deployment", "startupProbe", "startupProb"),
        ("NetworkPolicy", "endPort: 9463", "endPort: many"),
    ] {
        let document = made.split("---\n").find(|document| document.contains(&format!("kind: {kind}\n")));
        let wrong = scratch.write("wrong.yaml", &changed(document.expect(kind), from, to));
        match kind {
            "PodMonitor" => refuses(tool("python"), &["-c", check, schema, &wrong]),
            _ => refuses(tool("kubernetes-validate"), &["--strict", &wrong]),
        }
    }
    // The sidecar as it was meant: native, and told by its ports apart from everything else.
    let deployment =
        made.split("---\n").find(|document| document.contains("kind: Deployment\n")).expect("a Deployment");
    for part in ["initContainers:", "restartPolicy: Always", "readOnlyRootFilesystem: true", "runAsNonRoot: true"] {
        assert!(deployment.contains(part), "{part}: {deployment}");
    }
}

/// What the example makes, with the component for the Prometheus Operator or without.
fn example(scratch: &Scratch, operator: bool) -> String {
    if !operator {
        return passes(tool("kubectl"), &["kustomize", "deploy/kubernetes/example"]);
    }
    passes("cp", &["-r", "deploy/kubernetes", &scratch.0.path().display().to_string()]);
    let kustomization = "kubernetes/example/kustomization.yaml";
    let opted = changed(&text(&format!("deploy/{kustomization}")), "# - ../podmonitor", "- ../podmonitor");
    let _ = scratch.write(kustomization, &opted);
    passes(tool("kubectl"), &["kustomize", &scratch.0.path().join("kubernetes/example").display().to_string()])
}

/// The README's steps used to make a Secret and then overwrite it with `replace-me`, and to apply a kind that only the Prometheus
/// Operator brings.
#[test]
fn the_steps_for_kubernetes_keep_the_key_and_name_only_what_is_there() {
    if !full("kubectl, for the steps of deploy/README.md") {
        return;
    }
    let readme = text("deploy/README.md");
    let steps: Vec<&str> = readme.lines().filter(|line| line.starts_with("kubectl ")).collect();
    let [namespace, secret, look, apply] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(*namespace, "kubectl create namespace speech");
    assert!(secret.starts_with("kubectl -n speech create secret generic speechgate-keys --from-literal=elevenlabs="));
    let folder = "deploy/kubernetes/example";
    assert!(look.starts_with(&format!("kubectl kustomize {folder}")), "{look}");
    assert_eq!(*apply, format!("kubectl apply -k {folder}"));
    // What the last step applies leaves the Secret of the second alone, and refers to it by its name and its key.
    let made = example(&Scratch::new(), false);
    let kinds: Vec<&str> = made.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    assert_eq!(kinds.iter().filter(|kind| matches!(**kind, "Secret" | "PodMonitor")).count(), 0, "{kinds:?}");
    assert!(kinds.contains(&"Deployment") && kinds.contains(&"Namespace"), "{kinds:?}");
    assert!(made.contains("secretName: speechgate-keys"), "{made}");
    let config = text("deploy/kubernetes/sidecar/gateway.toml");
    assert!(config.contains("${file:/run/secrets/speechgate/elevenlabs}"));
}

#[test]
fn the_configuration_of_the_sidecar_is_valid() {
    let scratch = Scratch::new();
    let key = scratch.write("elevenlabs", "sk-1234567890\n");
    let text = changed(&text("deploy/kubernetes/sidecar/gateway.toml"), "/run/secrets/speechgate/elevenlabs", &key);
    let told = passes(PROGRAM, &["check", "--config", &scratch.write("gateway.toml", &text)]);
    assert!(told.contains("valid: 1 route"), "{told}");
}

#[test]
fn the_unit_is_valid_and_hardened() {
    if !full("systemd-analyze") {
        return;
    }
    let scratch = Scratch::new();
    // The program is not installed where the unit expects it.
    let unit = changed(&text("deploy/systemd/speechgate.service"), "/usr/local/bin/speechgate", PROGRAM);
    let file = scratch.write("speechgate.service", &unit);
    let verified = passes("systemd-analyze", &["verify", "--man=no", &file]);
    assert_eq!(verified, "", "warnings");
    passes("systemd-analyze", &["security", "--offline=yes", "--threshold=15", &file]);
    let soft = scratch.write(
        "soft/speechgate.service",
        &changed(&unit, "ProtectSystem=strict\n", "").replace("CapabilityBoundingSet=\n", ""),
    );
    refuses("systemd-analyze", &["security", "--offline=yes", "--threshold=15", &soft]);
    let wrong = scratch.write("wrong/speechgate.service", &changed(&unit, "Restart=on-failure", "Restart=on-failing"));
    let (_, told) = run("systemd-analyze", &["verify", "--man=no", &wrong]);
    assert!(told.contains("on-failing"), "{told}");
}
