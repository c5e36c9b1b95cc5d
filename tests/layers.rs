//! The rules of the code: the order of its layers, no import circles, one thing for each type name, `unsafe` in sys/ and io/
//! alone, short files and functions.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use support::imports::Graph;
use support::rust::{code_of, crate_paths, functions, type_names, without_tests};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// A Rust file of src/.
struct Source {
    /// From src/ on: "model/parse/mod.rs".
    path: String,
    /// Without comments, and without the insides of texts.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let sources = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        Source { path, code: code_of(&text), text }
    });
    sources.collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be listed") {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
}

impl Source {
    /// The modules from the crate's root to this file: `["model", "parse"]`.
    fn modules(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').collect() }
    }

    fn is_tests(&self) -> bool {
        self.modules().iter().any(|module| matches!(*module, "tests" | "loom_tests"))
    }
}

/// The documented layers.
struct Order {
    level: BTreeMap<String, usize>,
    /// Edges that are allowed within one layer.
    beside: BTreeSet<(String, String)>,
}

impl Order {
    /// The table in the crate's documentation, and the edges in backticks.
    fn documented() -> Self {
        let text = include_str!("../src/lib.rs");
        let docs: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
        let beside = docs.iter().flat_map(|line| quoted(line)).filter_map(|span| {
            let (from, to) = span.split_once('→')?;
            Some((from.trim().to_owned(), to.trim().to_owned()))
        });
        Self { level: layers(docs.iter().copied()), beside: beside.collect() }
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        let (here, there) = (self.level[from], self.level.get(to));
        from == to
            || there.is_some_and(|&there| there < here)
            || self.beside.contains(&(from.to_owned(), to.to_owned()))
    }
}

/// The spans of a line that stand in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The modules of a table whose rows begin with the layer and the modules in backticks.
fn layers<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let rows = lines.filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.parse().ok()?, cells.next()?))
    });
    let name = |module: &str| module.trim_end_matches('/').trim_end_matches(".rs").to_owned();
    rows.flat_map(|(layer, modules)| quoted(modules).map(move |module| (name(module), layer))).collect()
}

#[test]
fn architecture_has_the_same_layers() {
    assert_eq!(layers(include_str!("../ARCHITECTURE.md").lines()), Order::documented().level);
}

#[test]
fn a_module_imports_only_from_layers_above() {
    let order = Order::documented();
    let mut wrong = Vec::new();
    let mut edges = 0;
    for source in sources() {
        let modules = source.modules();
        let Some(from) = modules.first() else { continue };
        for (line, to) in crate_paths(&source.code, modules.len()) {
            edges += 1;
            if !order.allows(from, &to) {
                wrong.push(format!("src/{}:{line}: {from} imports from {to}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "against the order in src/lib.rs:\n{}", wrong.join("\n"));
    assert!(edges > 50, "only {edges} imports were found: the search is broken");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let codes: Vec<_> = sources
        .iter()
        .filter(|source| !source.is_tests() && source.path != "main.rs")
        .map(|source| {
            let module = source.modules().into_iter().map(str::to_owned).collect();
            (module, code_of(&without_tests(&source.text).join("\n")))
        })
        .collect();
    let graph = Graph::read(
        codes.iter().map(|(module, code): &(Vec<String>, String)| (module.clone(), code.as_str())),
    );
    let circles = graph.circles();
    let lines: Vec<_> = circles.iter().map(|circle| described(circle)).collect();
    assert!(circles.is_empty(), "{} circles in src:\n{}", circles.len(), lines.join("\n"));
}

/// Names that a pattern gives to a type of each module: the arguments of each subcommand.
const TYPE_OF_EACH: [&str; 1] = ["Args"];

#[test]
fn a_type_name_stands_for_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        // What the API carries has the names of what it describes, and is always written `api::Name`.
        if source.path.starts_with("control/api") {
            continue;
        }
        for name in type_names(&code_of(&without_tests(&source.text).join("\n"))) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    assert!(places.len() > 300, "only {} types were found: the search is broken", places.len());
    let wrong: Vec<_> = places
        .iter()
        .filter(|(name, files)| files.len() > 1 && !TYPE_OF_EACH.contains(&name.as_str()))
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} type names stand in several files of src:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn described(circle: &[Vec<String>]) -> String {
    let names: Vec<_> = circle.iter().chain(&circle[..1]).map(|module| module.join("::")).collect();
    names.join(" → ")
}

#[test]
fn the_documented_order_names_every_module_once() {
    let order = Order::documented();
    let named: BTreeSet<_> = order.level.keys().map(String::as_str).collect();
    let sources = sources();
    let there: BTreeSet<_> = sources.iter().filter_map(|source| source.modules().first().copied()).collect();
    assert_eq!(named, there);
    for (from, to) in &order.beside {
        assert_eq!(order.level[from], order.level[to], "{from} → {to} is an edge within one level");
    }
}

#[test]
fn unsafe_code_is_in_sys_and_io_only() {
    let word =
        |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    let all = sources();
    let may = |source: &&Source| source.path.starts_with("sys/") || source.path.starts_with("io/");
    let (allowed, others): (Vec<_>, Vec<_>) = all.iter().partition(may);
    let wrong: Vec<_> =
        others.iter().filter(|source| word(&source.code)).map(|source| &source.path).collect();
    assert!(wrong.is_empty(), "unsafe outside src/sys and src/io: {wrong:?}");
    assert!(allowed.iter().any(|source| word(&source.code)), "the search finds what sys/ and io/ have");
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        let lines = without_tests(&source.text).len();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("src/{} has {lines} lines, at most {FILE_LINES_MAX}", source.path));
        }
        for (line, name, length) in functions(&source.code) {
            if length > FUNCTION_LINES_MAX {
                wrong.push(format!(
                    "src/{}:{line}: {name} has {length} lines, at most {FUNCTION_LINES_MAX}",
                    source.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

mod the_import_graph {
    use super::described;
    use super::support::imports::Graph;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let module =
            |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let graph = Graph::read(files.iter().map(|(name, code)| (module(name), *code)));
        graph.circles().iter().map(|circle| described(circle)).collect()
    }

    #[test]
    fn finds_circles_of_two_and_of_three() {
        assert_eq!(circles(&[("a", "use crate::b::B;"), ("b", "fn f() { crate::a::g() }")]), ["a → b → a"]);
        let three = [
            ("a", "use super::b::B;"),
            ("b", "use crate::{c::{C, D}, d};"),
            ("c", "super::a::f();"),
            ("d", ""),
        ];
        assert_eq!(circles(&three), ["a → b → c → a"]);
        assert_eq!(circles(&[("a", "use crate::b::B;"), ("b", "")]), [""; 0]);
    }

    #[test]
    fn counts_a_child_that_uses_what_its_parent_uses_it_for() {
        let parent = "mod b; struct A; fn f() { b::g() }";
        assert_eq!(circles(&[("a", parent), ("a::b", "use super::A;")]), ["a → a::b → a"]);
        assert_eq!(circles(&[("a", "mod b; pub use b::B; struct A;"), ("a::b", "use super::A;")]), [""; 0]);
    }

    #[test]
    fn follows_reexports_and_imported_names() {
        let files = [("a", "pub use b::B;"), ("a::b", "use crate::c;"), ("c", "use crate::a::B;")];
        assert_eq!(circles(&files), ["a::b → c → a::b"]);
        let through =
            [("a", "use crate::b; fn f() { b::g() }"), ("b", "use crate::a as x; fn g() { x::f() }")];
        assert_eq!(circles(&through), ["a → b → a"]);
    }

    #[test]
    fn skips_tests_and_finds_inline_modules() {
        assert_eq!(circles(&[("a", "#[cfg(test)] use crate::b::B;"), ("b", "use crate::a::A;")]), [""; 0]);
        assert_eq!(circles(&[("a", "mod inner { use super::A; }"), ("b", "use crate::a::A;")]), [""; 0]);
        let inner = [("a", "mod inner { use super::super::b::B; }"), ("b", "use crate::a::A;")];
        assert_eq!(circles(&inner), ["a → b → a"]);
    }
}

mod the_reader {
    use super::support::rust::{code_of, crate_paths, functions, type_names, without_tests};

    #[test]
    fn finds_types_but_no_associated_ones() {
        let code = "pub struct A;\nenum B { C }\npub(super) trait D {\n    type E;\n}\ntype F = A;\nimpl D for A {\n    type E = B;\n}\n";
        assert_eq!(type_names(code), ["A", "B", "D", "F"]);
    }

    #[test]
    fn leaves_out_comments_and_the_insides_of_texts() {
        let cases = [
            ("a // crate::b\nc", "a \nc"),
            ("a /* x /* y */ z\n */ b", "a \n b"),
            (r#"f("crate::\"x\" // no", 'a')"#, r#"f("", ' ')"#),
            ("r#\"a \" b\"# + r\"\\\" + b\"x\" + br##\"y\"# \"##", "\"\" + \"\" + b\"\" + \"\""),
            (r"'\'' '\\' '\u{1F600}' '/' 'a' &'a str <'static>", r"' ' ' ' ' ' ' ' ' ' &'a str <'static>"),
            ("for r in var\"x\"", "for r in var\"\""),
        ];
        for (text, code) in cases {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    fn paths(code: &str, depth: usize) -> Vec<String> {
        crate_paths(code, depth).into_iter().map(|(line, to)| format!("{line} {to}")).collect()
    }

    #[test]
    fn finds_every_way_to_name_another_module() {
        assert_eq!(paths("use crate::a::b;\nlet x = crate::c::D + $crate::e;", 1), ["1 a", "2 c", "2 e"]);
        assert_eq!(paths("use crate::{a, b::{c, d},\n e::{self}};", 1), ["1 a", "1 b", "1 e"]);
        assert_eq!(paths("pub(crate) fn f(); use crate :: a;", 1), ["1 a"]);
        assert_eq!(paths("use super::a; use super::super::b;", 1), ["1 a"]);
        assert_eq!(paths("use super::a; use super::super::{b, c::d};", 2), ["1 b", "1 c"]);
        assert_eq!(paths("use crate::*;", 1), ["1 *"]);
        assert_eq!(paths("use mycrate::a; use crate_x::b; self::super_x::c;", 1), [""; 0]);
    }

    #[test]
    fn knows_that_super_of_an_inline_module_is_the_file() {
        let code =
            "mod tests {\n use super::a;\n use super::super::b;\n fn f() { super::c() }\n}\nuse super::d;";
        assert_eq!(paths(code, 1), ["3 b", "6 d"]);
    }

    #[test]
    fn measures_functions_from_signature_to_brace() {
        let code = "pub const fn a(\n) {\n}\nimpl B {\n    pub(crate) async fn c() {\n        d();\n    }\n}\nfn e() {}\n";
        let found = functions(code);
        assert_eq!(found, [(1, "a".to_owned(), 3), (5, "c".to_owned(), 3), (9, "e".to_owned(), 1)]);
    }

    #[test]
    fn modules_of_tests_do_not_count_wherever_they_are() {
        let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\n#[cfg(all(test, loom_model))]\nmod m {\n}\nc\n";
        assert_eq!(without_tests(text), ["a", "c"]);
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), ["a", "b"]);
        assert_eq!(without_tests("#[cfg(test)]\nfn helper() {}\n"), ["#[cfg(test)]", "fn helper() {}"]);
    }
}
