//! Images, compose and Kubernetes: read by what runs them, and nothing in them is root.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{deployed, files, passes, program, yaml};

/// Whether an image is named with a version, so that two machines get the same one.
fn pinned(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_some_and(|(_, tag)| tag.contains(|c: char| c.is_ascii_digit()))
}

#[test]
fn docker_compose_reads_the_file_and_finds_everything_that_it_mounts() {
    let dir = deployed();
    let compose = dir.path().join("deploy/compose");
    // The definitions lie two directories up, as in the repository.
    for definitions in ["connectors", "mappings", "pipelines"] {
        fs::create_dir(dir.path().join(definitions)).unwrap();
    }
    let mut command = program("docker-compose");
    command
        .args(["--env-file", ".env.example", "-f", "compose.yaml", "config", "--format", "json"])
        .current_dir(&compose);
    let config: Json = serde_json::from_str(&passes(&mut command)).unwrap();
    for (name, service) in config["services"].as_object().unwrap() {
        assert!(pinned(service["image"].as_str().unwrap()), "{name}: {}", service["image"]);
        assert!(!service["restart"].is_null(), "{name} does not come back after a restart of the machine");
        for mount in service["volumes"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "bind") {
            let source = mount["source"].as_str().unwrap();
            assert!(Path::new(source).exists() || source.ends_with("/outbox"), "{name} mounts {source}");
            assert_eq!(mount["read_only"], true, "{name} could write {source}");
        }
    }
    for (name, secret) in config["secrets"].as_object().unwrap() {
        assert!(Path::new(secret["file"].as_str().unwrap()).exists(), "nobody makes the secret {name}");
    }
    let huiliu = &config["services"]["huiliu"];
    assert_eq!(huiliu["read_only"], true);
    assert_eq!(huiliu["cap_drop"], serde_json::json!(["ALL"]));
    assert_eq!(config["networks"]["inside"]["internal"], true);
}

#[test]
fn dockerfiles_pass_hadolint_and_end_as_nobody_in_particular() {
    for path in ["deploy/docker/Dockerfile", "deploy/docker/definitions.Dockerfile"] {
        passes(program("hadolint").arg(path));
        let text = fs::read_to_string(path).unwrap();
        let user = text.lines().rev().find_map(|line| line.strip_prefix("USER ")).unwrap();
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id >= 1000)), "{path} ends as {user}");
        for image in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            assert!(pinned(image.split_whitespace().next().unwrap()), "{path}: {image}");
        }
        for words in ["ENTRYPOINT ", "CMD "] {
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix(words)).unwrap();
            assert!(line.starts_with('['), "{path}: {words}would need a shell: {line}");
        }
    }
}

#[test]
fn kubernetes_manifests_fit_the_schemas_of_old_and_new_clusters() {
    // These are read by kustomize, by huiliu and by the Prometheus operator.
    let others = ["kustomization.yaml", "huiliu.yaml", "servicemonitor.yaml"];
    let manifests: Vec<PathBuf> = files("deploy/kubernetes")
        .into_iter()
        .filter(|path| !others.iter().any(|other| path.ends_with(other)))
        .collect();
    for version in ["1.25", "1.37"] {
        passes(program("kubernetes-validate").args(["--strict", "-k", version]).args(&manifests));
    }
    let kustomization = &yaml(Path::new("deploy/kubernetes/kustomization.yaml"))[0];
    let named = |key: &str, own: &Json| -> Vec<String> {
        own[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut listed = named("resources", kustomization);
    listed.extend(named("files", &kustomization["configMapGenerator"][0]));
    for name in &listed {
        assert!(Path::new("deploy/kubernetes").join(name).exists(), "{name} is listed and missing");
    }
    for path in manifests {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(listed.contains(&name) || name == "secret.example.yaml", "{name} is not in the kustomization");
    }
}

#[test]
fn pods_run_without_rights_and_are_asked_how_they_are() {
    let deployment = &yaml(Path::new("deploy/kubernetes/deployment.yaml"))[0]["spec"];
    assert_eq!(deployment["replicas"], 2);
    let pod = &deployment["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for kind in ["containers", "initContainers"] {
        for container in pod[kind].as_array().unwrap() {
            let (name, context) = (&container["name"], &container["securityContext"]);
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
            assert!(!container["resources"]["limits"]["memory"].is_null(), "{name}");
            assert!(pinned(container["image"].as_str().unwrap()), "{name}");
        }
    }
    let probe = |name: &str| &pod["containers"][0][name]["httpGet"]["path"];
    assert_eq!((probe("livenessProbe"), probe("readinessProbe")), (&"/healthz".into(), &"/readyz".into()));
    // Every pod must mask with the same key, so it comes from the secret and not from a directory of the pod's own.
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let key = mounts.iter().find(|mount| mount["subPath"] == "pseudonym.key").unwrap();
    assert_eq!((&key["name"], &key["mountPath"]), (&"secrets".into(), &"/var/lib/huiliu/pseudonym.key".into()));
}
