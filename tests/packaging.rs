//! Contents of the Debian package: unit, man pages, completions. `tools/package --test` installs the package.
#![allow(missing_docs)]

mod tmux;

use std::path::Path;
use std::process::{Command, Output};
use tmux::Terminal;

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/debian/directrix.service");
/// Exposure limit in tenths. systemd 252 reports 2.4 of 10, more than half of it for raw access to the network.
const EXPOSURE_MAX: &str = "25";

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("tools/setup installs it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn systemd_verifies_the_unit_without_warnings() {
    let place = tempfile::tempdir().unwrap();
    let unit = place.path().join("directrix.service");
    let installed = std::fs::read_to_string(UNIT).unwrap();
    assert!(installed.contains("ExecStart=/usr/bin/directrix run\n"));
    std::fs::write(&unit, installed.replace("/usr/bin/directrix", EXE)).unwrap();
    let verified = run("systemd-analyze", &["verify", "--man=no", &unit.display().to_string()]);
    let printed = text(&verified.stdout) + &text(&verified.stderr);
    assert!(verified.status.success() && printed.is_empty(), "{printed}");
}

/// systemd's default start limit is five starts within ten seconds.
#[test]
fn unit_has_no_start_limit() {
    let installed = std::fs::read_to_string(UNIT).unwrap();
    let section = |name: &str| {
        let body = installed.split_once(&format!("[{name}]\n")).unwrap().1;
        let body = body.split("\n[").next().unwrap();
        body.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>()
    };
    assert!(section("Unit").contains(&"StartLimitIntervalSec=0"), "it belongs to [Unit]");
    let service = section("Service");
    assert!(service.contains(&"Restart=on-failure") && service.contains(&"RestartPreventExitStatus=2"));
}

#[test]
fn unit_sandbox_keeps_exposure_low() {
    let offline = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX, UNIT];
    let report = run("systemd-analyze", &offline);
    let printed = text(&report.stdout);
    assert!(
        printed.contains("Overall exposure level for directrix.service"),
        "{printed}{}",
        text(&report.stderr)
    );
    assert!(report.status.success(), "{printed}");
}

/// Commands that `--help` lists.
fn commands(words: &[&str]) -> Vec<String> {
    let help = text(&run(EXE, &[words, &["--help"]].concat()).stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.map_while(|line| line.strip_prefix("  ")).filter_map(|line| line.split(' ').next());
    names.filter(|name| !matches!(*name, "" | "help")).map(str::to_owned).collect()
}

fn page(place: &Path, name: &str) -> String {
    std::fs::read_to_string(place.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_visible_command_has_a_man_page() {
    let place = tempfile::tempdir().unwrap();
    let pages = place.path().join("man");
    let done = run(EXE, &["generate", "man", &pages.display().to_string()]);
    assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
    let listed = commands(&[]);
    assert!(listed.len() >= 6, "{listed:?}");
    assert!(!listed.contains(&"generate".into()));
    for command in listed {
        assert!(page(&pages, &format!("directrix-{command}.8")).contains(".SH NAME"), "{command}");
    }
    for command in commands(&["realserver"]) {
        page(&pages, &format!("directrix-realserver-{command}.8"));
    }
    assert!(page(&pages, "directrix.8").contains("/etc/directrix/directrix.toml"));
    assert!(page(&pages, "directrix.toml.5").contains("[[service.server]]"));
}

#[test]
fn ipvsadm_man_page_has_the_whole_help() {
    let place = tempfile::tempdir().unwrap();
    run(EXE, &["generate", "man", &place.path().display().to_string()]);
    let page = page(place.path(), "directrix-ipvsadm.8").replace("\\-", "-").replace("\\&", "");
    let help = text(&run(EXE, &["ipvsadm", "-h"]).stdout);
    let lines: Vec<_> = help.lines().skip(1).filter(|line| !line.contains(['`', '\''])).collect();
    assert!(lines.len() > 20, "{help}");
    lines.iter().for_each(|line| assert!(page.contains(line), "{line}: {page}"));
}

/// Completions in a temporary directory, laid out as in the package.
struct Completions(tempfile::TempDir);

impl Completions {
    fn of(shell: &str, file: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let made = run(EXE, &["generate", "completions", shell]);
        assert!(made.status.success() && made.stderr.is_empty(), "{}", text(&made.stderr));
        let file = place.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, made.stdout).unwrap();
        Self(place)
    }

    /// A command with directrix in its path.
    fn command(&self, program: &str) -> Command {
        let (here, path) = (Path::new(EXE).parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.env("PATH", format!("{here}:{path}")).current_dir(self.0.path());
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, self.0.path());
        }
        command
    }
}

/// Asserts that each line is completed with exactly these words.
fn complete(offered: impl Fn(&str) -> Vec<String>) {
    let of = |line: &str| {
        let mut words = offered(line);
        words.sort();
        words
    };
    assert_eq!(of("directrix ip"), ["ipvsadm"]);
    assert_eq!(of("directrix gen"), [""; 0], "for packages, as in --help");
    assert_eq!(of("directrix realserver s"), ["setup"]);
    assert_eq!(of("directrix run --backend "), ["auto", "packet", "xdp"]);
    assert_eq!(of("directrix import --from "), ["ipvsadm", "keepalived", "ldirectord", "sysctl"]);
    assert_eq!(of("directrix drain --dead"), ["--deadline"]);
    let mut listed = commands(&[]);
    listed.push("help".into());
    listed.sort();
    let commands: Vec<_> = of("directrix ").into_iter().filter(|word| !word.starts_with('-')).collect();
    assert_eq!(commands, listed);
}

#[test]
fn bash_completes() {
    let completions = Completions::of("bash", "directrix");
    complete(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let script = format!(
            "source ./directrix; function=$(complete -p directrix | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             COMP_WORDS=(\"$@\"); COMP_CWORD={}; $function directrix '{last}' '{before}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let done = completions.command("bash").args(["--norc", "-c", &script, "bash"]).args(words).output();
        printed(&done.unwrap())
    });
}

#[test]
fn fish_completes() {
    let completions = Completions::of("fish", "fish/completions/directrix.fish");
    complete(|line| {
        let done = completions.command("fish").args(["-c", &format!("complete -C '{line}'")]).output();
        let lines = printed(&done.unwrap()).into_iter();
        lines.map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    });
}

/// Words of the output. Asserts success and an empty stderr.
fn printed(done: &Output) -> Vec<String> {
    assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
    text(&done.stdout).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Writes the completions for the tab key to the file "offered".
const ZSHRC: &str = r#"
fpath=($PWD $fpath)
autoload -Uz compinit && compinit -u -d dump
compadd() {
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        local -a found
        builtin compadd -A found "$@"
        print -rl -- $found >>hits
    fi
    builtin compadd "$@"
}
offer() { : >hits; _main_complete; compstate[insert]=; compstate[list]=; mv hits offered }
zle -C offer complete-word offer
bindkey '^I' offer
PS1='ready> '
"#;

/// Zsh completes only at a terminal.
#[test]
fn zsh_completes() {
    let completions = Completions::of("zsh", "_directrix");
    let (place, offered) = (completions.0.path(), completions.0.path().join("offered"));
    std::fs::write(place.join(".zshrc"), ZSHRC).unwrap();
    let here = place.display();
    let terminal = Terminal::running(&format!("cd {here}; ZDOTDIR={here} zsh -d"), (100, 60));
    terminal.wait_for("ready>");
    complete(|line| {
        terminal.keys(&format!("C-u {} Tab", line.replace(' ', " Space ")));
        terminal.wait_until("the completions", |_| offered.exists());
        let words = std::fs::read_to_string(&offered).unwrap();
        std::fs::remove_file(&offered).unwrap();
        words.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
    });
}

#[test]
fn unwritable_output_directory_is_named() {
    let refused = run(EXE, &["generate", "man", "/dev/null/pages"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    assert!(
        error.starts_with("directrix: writing to /dev/null/pages: ") && error.contains("; name a place"),
        "{error}"
    );
}
