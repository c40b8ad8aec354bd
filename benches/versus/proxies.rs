//! The proxies that are compared: each with one worker, on a core of its own, before the same provider.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A proxy that runs.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    directory: tempfile::TempDir,
}

/// What a process has used.
#[derive(Clone, Copy)]
pub(crate) struct Vitals {
    /// Processor time of all threads of the process and its children.
    pub(crate) cpu: Duration,
    /// Resident bytes, shared pages counted once for each process.
    pub(crate) resident: usize,
}

/// Which proxies there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This one, with everything switched on.
    Speechgate,
    /// This one with so many routes.
    Routes(usize),
    /// This one, before a provider whose generations it follows, or not.
    Follows(bool),
    Nginx,
    Haproxy,
    Envoy,
    /// This one before a provider that speaks gRPC.
    Calls,
    /// Envoy before it, as a plain relay.
    EnvoyCalls,
    /// hyper alone.
    Floor,
}

impl Proxy {
    /// Starts one; none when its program is not installed.
    pub(crate) fn start(kind: Kind, provider: SocketAddr, core: Option<usize>) -> Option<Proxy> {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free();
        let at = directory.path();
        let own = std::env::current_exe().expect("this program").to_string_lossy().into_owned();
        let (name, program, arguments, file, text) = match kind {
            Kind::Speechgate | Kind::Routes(_) => {
                let routes = if let Kind::Routes(routes) = kind { routes } else { 1 };
                let name = if kind == Kind::Speechgate { "speechgate" } else { "routes" };
                let program = env!("CARGO_BIN_EXE_speechgate");
                (name, program, vec!["serve", "--config"], "gateway.toml", speechgate(address, provider, routes))
            }
            Kind::Calls => {
                let text =
                    speechgate(address, provider, 1).replace("provider = \"elevenlabs\"", "provider = \"google\"");
                ("speechgate", env!("CARGO_BIN_EXE_speechgate"), vec!["serve", "--config"], "gateway.toml", text)
            }
            Kind::Follows(on) => {
                let (name, program) = (if on { "on" } else { "off" }, env!("CARGO_BIN_EXE_speechgate"));
                let text =
                    speechgate(address, provider, 1).replace("provider = \"elevenlabs\"", "provider = \"spoken\"");
                let text = format!("{text}generations = {on}\n{SPOKEN}");
                (name, program, vec!["serve", "--config"], "gateway.toml", text)
            }
            Kind::Nginx => {
                ("nginx", "nginx", vec!["-e", "/dev/null", "-c"], "nginx.conf", nginx(address, provider, at))
            }
            Kind::Floor => ("hyper alone", own.as_str(), vec![FLOOR], "addresses", format!("{address}\n{provider}")),
            Kind::Haproxy => ("haproxy", "haproxy", vec!["-q", "-db", "-f"], "haproxy.cfg", haproxy(address, provider)),
            Kind::Envoy | Kind::EnvoyCalls => {
                let arguments = vec!["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"];
                let text = if kind == Kind::Envoy { envoy } else { super::grpc::envoy }(address, provider);
                ("envoy", "envoy", arguments, "envoy.yaml", text)
            }
        };
        let file = at.join(file);
        fs::write(&file, text).expect("written");
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                let _ = command.args(["-c", &core.to_string(), program]);
                command
            }
            None => Command::new(program),
        };
        let log = fs::File::create(at.join("log")).expect("a file");
        let errors = log.try_clone().expect("a file");
        let _ = command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(log).stderr(errors);
        if kind != Kind::Floor && !installed(program) {
            return None;
        }
        let child = command.spawn().expect("the program starts");
        let proxy = Proxy { name, address, child, directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{name} does not listen: {}", proxy.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(proxy)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// What it has used until now.
    pub(crate) fn vitals(&self) -> Vitals {
        let mut vitals = Vitals { cpu: Duration::ZERO, resident: 0 };
        for process in family(self.child.id()) {
            let status = read(&format!("/proc/{process}/status"));
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or(" 0 kB");
            vitals.resident += resident.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024;
            // In nanoseconds, unlike the ticks of `stat`.
            let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for thread in threads {
                let stat = read(&thread.path().join("schedstat").to_string_lossy());
                let spent = stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0);
                vitals.cpu += Duration::from_nanos(spent);
            }
        }
        vitals
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for process in family(self.child.id()).into_iter().rev() {
            let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

/// A process and its children.
fn family(process: u32) -> Vec<u32> {
    let children = read(&format!("/proc/{process}/task/{process}/children"));
    std::iter::once(process).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn installed(program: &str) -> bool {
    let version = if program == "nginx" || program == "haproxy" { "-v" } else { "--version" };
    Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// Everything that costs something for each request is on: routing, limits, metrics, access log, request ids, inspection.
fn speechgate(listen: SocketAddr, provider: SocketAddr, routes: usize) -> String {
    let mut text = format!(
        "[server]\nlisten = \"{listen}\"\nworkers = 1\nmax_connections = 9000\n[admin]\nlisten = \"{}\"\n\
         [telemetry]\nlog = {{ format = \"json\", level = \"info\", access = true }}\n",
        free()
    );
    for route in 0..routes {
        let path = if route == 0 { "/r".to_owned() } else { format!("/other/route{route}") };
        text.push_str(&format!(
            "[[routes]]\nname = \"r{route}\"\nmatch = {{ path = \"{path}\" }}\nprovider = \"elevenlabs\"\n\
             upstream = \"http://{provider}\"\nrate_limits = [{{ requests = 1000000, per = \"1s\" }}]\n\
             concurrency = {{ max = 5000 }}\n"
        ));
    }
    text
}

/// What the provider says and is sent, as generations.
const SPOKEN: &str = r#"
[providers.spoken]
extends = "elevenlabs"
[[providers.spoken.generations]]
path = ["POST /v1/json", "POST /v1/paced", "POST /v1/bulk"]
audio = "body"
text = "$.text"
format = { name = "$.output_format" }
model = "$.model_id"
[[providers.spoken.generations]]
path = "POST /v1/upload"
kind = "stt"
input = "body"
[[providers.spoken.generations]]
path = "POST /v1/events"
audio = "$.data"
text = "$.text"
format = { name = "$.output_format" }
model = "$.model_id"
[[providers.spoken.generations]]
path = "GET /v1/socket"
kind = "stt"
id = "$.context_id"
input = ["binary", "$.data"]
audio = ["binary", "$.data"]
last = { "$.type" = "finish" }
ends = { "$.done" = true }
"#;

/// Makes this program be hyper alone, between the two addresses in a file.
pub(crate) const FLOOR: &str = "--floor";

/// As its documentation says for proxying with keep-alive. It writes no log and rewrites nothing but, where Lua is
/// there, errors.
fn nginx(listen: SocketAddr, provider: SocketAddr, at: &Path) -> String {
    let at = at.display();
    let modules = "/usr/lib/nginx/modules";
    let lua = Path::new(&format!("{modules}/ngx_http_lua_module.so")).exists();
    let load = if lua {
        format!("load_module {modules}/ndk_http_module.so;\nload_module {modules}/ngx_http_lua_module.so;\n")
    } else {
        String::new()
    };
    let rewrite = if lua { LUA } else { "" };
    format!(
        "{load}daemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log /dev/null crit;\n\
         events {{ worker_connections 9000; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/f;\nuwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\n\
         keepalive_requests 1000000000;\nclient_max_body_size 0;\n\
         upstream provider {{ server {provider}; keepalive 1000; keepalive_requests 1000000000; }}\n\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{ listen {listen} backlog=4096 reuseport;\n\
         location /r/ {{ proxy_pass http://provider/; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $connection_upgrade; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_buffering off; proxy_request_buffering off; {rewrite} }} }} }}\n"
    )
}

const LUA: &str = r#"
header_filter_by_lua_block {
  if ngx.status >= 400 then ngx.ctx.error = true; ngx.header.content_length = nil end
}
body_filter_by_lua_block {
  if not ngx.ctx.error then return end
  ngx.ctx.body = (ngx.ctx.body or "") .. (ngx.arg[1] or "")
  if ngx.arg[2] then
    local cjson = require "cjson.safe"
    local said = cjson.decode(ngx.ctx.body) or {}
    local detail = said.detail or {}
    ngx.arg[1] = cjson.encode({ error = { type = "rate_limited", code = "rate_limited", status = 429,
      message = detail.message, retryable = true, origin = "provider", provider = "elevenlabs", route = "r",
      upstream = { status = ngx.status, code = detail.code, body = said } } })
  else
    ngx.arg[1] = nil
  end
}
"#;

/// As its documentation says, with the body of errors rewritten by a script that runs for them alone.
fn envoy(listen: SocketAddr, provider: SocketAddr) -> String {
    let kind = "'@type': type.googleapis.com/envoy.extensions.filters";
    let (port, at) = (listen.port(), provider.port());
    let many = "{ max_connections: 9000, max_pending_requests: 9000, max_requests: 9000 }";
    let to = "cluster: provider, prefix_rewrite: /, timeout: 0s";
    format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          {kind}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          upgrade_configs: [ {{ upgrade_type: websocket }} ]
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: /r/v1/error }}
                route: {{ cluster: provider, prefix_rewrite: /v1/error, timeout: 0s }}
              - match: {{ prefix: /r/ }}
                route: {{ {to} }}
                typed_per_filter_config:
                  lua: {{ {kind}.http.lua.v3.LuaPerRoute, disabled: true }}
          http_filters:
          - name: lua
            typed_config:
              {kind}.http.lua.v3.Lua
              default_source_code:
                inline_string: |
{ENVOY_LUA}
          - name: router
            typed_config: {{ {kind}.http.router.v3.Router }}
  clusters:
  - name: provider
    circuit_breakers: {{ thresholds: [ {many} ] }}
    load_assignment:
      cluster_name: provider
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {at} }} }} }}
"
    )
}

/// It has no JSON: the message is found by a pattern.
const ENVOY_LUA: &str = r#"
                  function envoy_on_response(handle)
                    if tonumber(handle:headers():get(":status")) < 400 then return end
                    local body = handle:body()
                    local said = body:getBytes(0, body:length())
                    local message = string.match(said, '"message":"(.-[^\\])"') or ""
                    local code = string.match(said, '"code":"(.-)"') or ""
                    body:setBytes('{"error":{"type":"rate_limited","code":"rate_limited","status":429,"message":"' .. message ..
                      '","retryable":true,"origin":"provider","provider":"elevenlabs","route":"r","upstream":{"status":429,"code":"' ..
                      code .. '","body":' .. said .. '}}}')
                  end
"#;

/// As its documentation says, with the body of errors rewritten.
fn haproxy(listen: SocketAddr, provider: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9000\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 75s\n  timeout server 60s\n  timeout tunnel 5m\n  \
         option http-no-delay\n  http-reuse always\n  option forwardfor\n\
         frontend clients\n  bind {listen} backlog 4096\n  use_backend provider if {{ path_beg /r/ }}\n\
         backend provider\n  http-request replace-path ^/r(/.*)$ \\1\n  \
         http-response wait-for-body time 1s if {{ status ge 400 }}\n  \
         http-response set-var(txn.said) res.body if {{ status ge 400 }}\n  \
         http-response set-var(txn.message) res.body,json_query('$.detail.message') if {{ status ge 400 }}\n  \
         http-response return status 429 content-type application/json lf-string \
         '{{\"error\":{{\"type\":\"rate_limited\",\"code\":\"rate_limited\",\"status\":429,\"message\":\"%[var(txn.message)]\",\
         \"retryable\":true,\"origin\":\"provider\",\"provider\":\"elevenlabs\",\"upstream\":{{\"body\":%[var(txn.said)]}}}}}}' if {{ status ge 400 }}\n  \
         server one {provider} pool-max-conn 1000\n"
    )
}
