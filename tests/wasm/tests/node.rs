//! Builds the core for `wasm32-unknown-unknown`, and runs it in Node.js, which npm brings along. Needs
//! `rustup target add wasm32-unknown-unknown`; without it says that it was skipped, unless `MCP_AUTH_WASM` is set.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    clippy::print_stderr,
    reason = "the core starts no program; its test starts two"
)]

use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Traps become errors; whatever the module wants of its host is told.
const RUN: &str = "
const module = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));
const wants = WebAssembly.Module.imports(module).map(({ module, name }) => `${module}.${name}`);
console.log(`imports: ${wants.join(' ') || 'none'}`);
new WebAssembly.Instance(module, {}).exports.main(0, 0);
console.log('ran');
";

fn has_target() -> bool {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let found = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    found.is_ok_and(|found| {
        let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        Path::new(&path).exists()
    })
}

#[test]
fn the_core_runs_where_there_is_nothing_and_imports_nothing() {
    if !has_target() {
        assert!(std::env::var_os("MCP_AUTH_WASM").is_none(), "rustup target add {TARGET}");
        eprintln!("skipped: there is no {TARGET} here");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "-p", "mcp-auth-wasm", "--target", TARGET])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", &folder)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let module = folder.join(TARGET).join("debug/mcp-auth-wasm.wasm");
    let ran = Command::new("node").args(["-e", RUN]).arg(&module).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(said, "imports: none\nran\n", "{}", String::from_utf8_lossy(&ran.stderr));
}
