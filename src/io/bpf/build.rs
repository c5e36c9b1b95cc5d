//! Compiles the steering and probe programs, and those of the throughput bench, to BPF with clang.

use std::env::{self, VarError};
use std::process::{Command, exit};

const SOURCES: [&str; 6] = [
    "src/io/bpf/steer.bpf.c",
    "src/io/bpf/probe.bpf.c",
    "src/bench_wire/bpf/generate.bpf.c",
    "src/bench_wire/bpf/hairpin.bpf.c",
    "src/bench_wire/bpf/redirect.bpf.c",
    "src/bench_wire/bpf/sink.bpf.c",
];
const HEADERS: [&str; 4] = [
    "src/io/bpf/preamble.bpf.h",
    "src/io/bpf/headers.bpf.h",
    "src/io/bpf/services.bpf.h",
    "src/bench_wire/bpf/bench.bpf.h",
];

fn main() {
    for source in SOURCES.iter().chain(&HEADERS) {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(reason) = SOURCES.iter().try_for_each(|source| compile(source)) {
        println!("cargo::error={reason}");
        exit(1);
    }
}

fn compile(source: &str) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let name = source.rsplit('/').next().unwrap_or(source);
    let object = format!("{}/{}", var("OUT_DIR")?, name.replace(".bpf.c", ".bpf.o"));
    let built = Command::new(&clang)
        .args(["-target", target()?, "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
        .arg(format!("-I/usr/include/{}", multiarch()?))
        .args(["-c", source, "-o", &object])
        .output()
        .map_err(|error| {
            format!("cannot run {clang} ({error}), which compiles {source} to BPF; {}", packages())
        })?;
    if built.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&built.stderr).replace('\n', "\\n");
    Err(format!("{clang} does not compile {source}; {}. Its output: {output}", packages()))
}

fn packages() -> &'static str {
    "on Debian: apt install clang linux-libc-dev (or name another clang in CLANG)"
}

/// The programs run on the machine that directrix is built for, in its byte order.
fn target() -> Result<&'static str, String> {
    Ok(if var("CARGO_CFG_TARGET_ENDIAN")? == "big" { "bpfeb" } else { "bpfel" })
}

/// Debian's multiarch directory of `asm/types.h`. On other systems it does not exist and does no harm.
fn multiarch() -> Result<String, String> {
    let arch = var("CARGO_CFG_TARGET_ARCH")?;
    Ok(match arch.as_str() {
        "x86" => "i386-linux-gnu".into(),
        "arm" => "arm-linux-gnueabihf".into(),
        "powerpc64" => "powerpc64le-linux-gnu".into(),
        _ => format!("{arch}-linux-gnu"),
    })
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error: VarError| format!("cargo does not set {name}: {error}"))
}
