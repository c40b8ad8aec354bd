//! The image, built and run for real without a container engine: buildah carries out the Dockerfile over a Debian made by
//! debootstrap, with chroot as its isolation, and the program in it is started as the image says and asked by its health check.
//!
//! Two things stand in for what is not to be had here: the compiler, for which a `cargo` of a few lines puts this build's program
//! where the real one would, after checking what it is asked; and the distroless base, of which the same libraries and
//! certificates are taken out of that Debian.

use crate::{PROGRAM, Scratch, full, path, text};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the Dockerfile builds with.
const CARGO: &str = "#!/bin/sh
set -e
[ \"$*\" = 'build --locked --release --bin speechgate' ]
[ -f Cargo.toml ] && [ -f Cargo.lock ] && [ -f src/main.rs ]
mkdir -p target/release
cp /prebuilt/speechgate target/release/speechgate
";

/// buildah with a store of this test's own.
struct Buildah(Scratch);

impl Buildah {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        for (option, folder) in [("--root", "root"), ("--runroot", "run")] {
            let _ = command.arg(option).arg(self.0.0.path().join(folder));
        }
        let _ = command.args(["--storage-driver", "vfs"]).args(arguments).current_dir(path(""));
        let _ = command.env("BUILDAH_ISOLATION", "chroot");
        command
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().expect("buildah: run tests/deploy/setup.sh");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    }

    #[track_caller]
    fn passes(&self, arguments: &[&str]) -> String {
        let (passed, printed) = self.run(arguments);
        assert!(passed, "buildah {arguments:?}:\n{printed}");
        printed
    }

    /// An image of these folders, each below a path of the image.
    fn image(&self, name: &str, folders: &[(&Path, &str)]) {
        let container = self.container("scratch");
        for (folder, to) in folders {
            let _ = self.passes(&["copy", "--quiet", &container, &folder.display().to_string(), to]);
        }
        let _ = self.passes(&["commit", "--quiet", "--rm", &container, name]);
    }

    fn container(&self, image: &str) -> String {
        self.passes(&["from", "--pull-never", image]).trim().to_owned()
    }
}

/// The program in its container; ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // buildah passes it on, and ends with what it runs.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// The images that the Dockerfile starts from, in its order.
fn bases() -> Vec<String> {
    let file = text("deploy/Dockerfile");
    let from = file.lines().filter_map(|line| line.strip_prefix("FROM "));
    from.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What the distroless base has of the Debian: the C library's parts that programs of Rust load, and certificates.
fn runtime(debian: &Path, to: &Path) -> PathBuf {
    let root = to.join("runtime");
    let arch = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    for folder in [&*arch, "usr/lib64", "etc/ssl", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let copy = |from: &str| {
        let (from, to) = (debian.join(from), root.join(from));
        let status = Command::new("cp").arg("-a").arg(&from).arg(&to).status().expect("cp");
        assert!(status.success(), "{}", from.display());
    };
    for name in ["libc.so.6", "libm.so.6", "libgcc_s.so.1"] {
        copy(&format!("{arch}/{name}"));
    }
    copy("etc/ssl/certs");
    // The loader has another name on each kind of machine, and a link to it elsewhere.
    for folder in [&*arch, "usr/lib", "usr/lib64"] {
        for entry in fs::read_dir(debian.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.starts_with("ld-linux") {
                copy(&format!("{folder}/{name}"));
            }
        }
    }
    symlink("usr/lib", root.join("lib")).expect("a link");
    symlink("usr/lib64", root.join("lib64")).expect("a link");
    root
}

#[test]
fn the_image_is_built_runs_as_nobody_without_a_shell_and_passes_its_health_check() {
    if !full("buildah and debootstrap, on the Dockerfile") {
        return;
    }
    let debian = path("tests/.cache/deploy/debian");
    assert!(debian.join("usr/bin").is_dir(), "there is no {}: run tests/deploy/setup.sh", debian.display());
    let buildah = Buildah(Scratch::new());
    let scratch = Scratch::new();
    let cargo = scratch.write("cargo/cargo", CARGO);
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let program = scratch.write("prebuilt/speechgate", "");
    // Without what is there for debuggers alone, of which there is much.
    let stripped = Command::new("strip").args(["-o", &program, PROGRAM]).status();
    if !stripped.is_ok_and(|status| status.success()) {
        let _ = fs::copy(PROGRAM, &program).expect("the program");
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it may be run");
    let [build, run] = bases().try_into().expect("two stages");
    let local = |name: &str| if name.contains('/') { name.to_owned() } else { format!("localhost/{name}") };
    let folder = |name: &str| scratch.0.path().join(name);
    buildah.image(
        &local(&build),
        &[(&debian, "/"), (&folder("cargo"), "/usr/local/bin"), (&folder("prebuilt"), "/prebuilt")],
    );
    buildah.image(&local(&run), &[(&runtime(&debian, scratch.0.path()), "/")]);

    let image = "localhost/speechgate";
    let _ = buildah.passes(&["bud", "--pull-never", "--format", "docker", "-f", "deploy/Dockerfile", "-t", image, "."]);
    let told: Value = serde_json::from_str(&buildah.passes(&["inspect", "--type", "image", image])).expect("JSON");
    let config = &told["Docker"]["config"];
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(words(&config["Healthcheck"]["Test"])[..1], ["CMD"], "no shell is needed");

    let container = buildah.container(image);
    let (shell, _) = buildah.run(&["run", &container, "--", "/bin/sh", "-c", "true"]);
    assert!(!shell, "there is a shell in the image");
    let ports = [(); 2].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound")
    });
    let route =
        "[[routes]]\nname = 't'\nmatch = { path = '/t' }\nprovider = 'generic'\nupstream = 'http://127.0.0.1:1'\n";
    let listeners = format!("[server]\nlisten = '{}'\n[admin]\nlisten = '{}'\n", ports[0], ports[1]);
    let file = scratch.write("gateway.toml", &format!("{listeners}{route}"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("readable");
    // As an engine would check it, at an admin listener of the test's own.
    let admin = ports[1].to_string();
    let check: Vec<String> = words(&config["Healthcheck"]["Test"]).into_iter().skip(1).collect();
    let healthy = || {
        let mut arguments = vec!["run", &container, "--"];
        arguments.extend(check.iter().map(String::as_str).chain(["--admin", &admin]));
        buildah.run(&arguments)
    };
    assert!(!healthy().0, "healthy before it runs");
    let mount = format!("{file}:/etc/speechgate/gateway.toml:ro");
    let mut command = buildah.command(&["run", "--volume", &mount, &container, "--"]);
    let _ = command.args(words(&config["Entrypoint"])).args(words(&config["Cmd"]));
    let log = fs::File::create(scratch.0.path().join("log")).expect("a file");
    let errors = log.try_clone().expect("a file");
    let running = Running(command.stdout(Stdio::from(log)).stderr(Stdio::from(errors)).spawn().expect("buildah"));
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (ready, printed) = healthy();
        if ready {
            break;
        }
        let log = fs::read_to_string(scratch.0.path().join("log")).unwrap_or_default();
        assert!(Instant::now() < end, "{printed}\n{log}");
    }
    let answer = std::net::TcpStream::connect(ports[0]).and_then(|mut stream| {
        std::io::Write::write_all(&mut stream, b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        std::io::read_to_string(stream)
    });
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("route_not_found"), "{answer}");
    drop(running);
    assert!(!healthy().0, "healthy after its end");
}
