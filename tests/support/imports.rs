//! The import graph of src/, file by file. A re-export leads to the file that defines the item.

use super::rust::{InlineModules, tokens};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Path of a module from the crate root: `["model", "parse"]`.
pub type Path = Vec<String>;

/// A name that a file imports.
struct Import {
    path: Path,
    /// The name in the file, after `as` if there is one.
    name: String,
    /// A re-export, which is not a use of its own.
    public: bool,
}

/// The imports of a file, and the paths in its code, in the order of the text.
#[derive(Default)]
struct File {
    imports: Vec<Import>,
    paths: Vec<Path>,
}

/// The files of a crate by their modules.
pub struct Graph {
    files: BTreeMap<Path, File>,
}

impl Graph {
    /// Reads files: the module of each, and its code without comments, texts and tests.
    pub fn read<'a>(files: impl IntoIterator<Item = (Path, &'a str)>) -> Self {
        Self { files: files.into_iter().map(|(module, code)| (module, File::read(code))).collect() }
    }

    /// The shortest circle through each file that is in one; empty if there is none.
    pub fn circles(&self) -> BTreeSet<Vec<Path>> {
        let edges: BTreeMap<_, _> = self.files.keys().map(|module| (module, self.targets(module))).collect();
        self.files.keys().filter_map(|module| shortest_circle(module, &edges)).collect()
    }

    /// The other files that a file uses.
    fn targets(&self, module: &Path) -> BTreeSet<Path> {
        let file = &self.files[module];
        let imported = file.imports.iter().filter(|import| !import.public).map(|import| import.path.clone());
        let named = file.paths.iter().map(|path| file.through_imports(path));
        let absolute = imported.chain(named).filter_map(|path| self.absolute(module, &path));
        absolute.map(|path| self.definition(&path, &mut BTreeSet::new())).filter(|to| to != module).collect()
    }

    /// The path from the crate's root; `None` for a path into another crate.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let child = || self.files.contains_key(&[module, &path[..1]].concat());
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "super" => Some([&module[..module.len().checked_sub(supers)?], &path[supers..]].concat()),
            "self" => Some([module, &path[1..]].concat()),
            _ if child() => Some([module, path].concat()),
            _ => None,
        }
    }

    /// The file that defines the item of an absolute path. `followed`: the re-exports on the way here.
    fn definition(&self, path: &[String], followed: &mut BTreeSet<Path>) -> Path {
        let depth =
            (0..=path.len()).rev().find(|&depth| self.files.contains_key(&path[..depth])).unwrap_or(0);
        let (module, rest) = (path[..depth].to_vec(), &path[depth..]);
        let Some((item, inside)) = rest.split_first() else { return module };
        let import = self.files.get(&module).and_then(|file| file.import_of(item));
        let target = import.and_then(|import| self.absolute(&module, &import.path));
        match target {
            Some(target) if followed.insert([&module[..], &rest[..1]].concat()) => {
                self.definition(&[&target, inside].concat(), followed)
            }
            _ => module,
        }
    }
}

/// The shortest circle of imports through a file.
fn shortest_circle(start: &Path, edges: &BTreeMap<&Path, BTreeSet<Path>>) -> Option<Vec<Path>> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(module) = queue.pop_front() {
        for next in edges.get(module).into_iter().flatten() {
            if !before.contains_key(next) {
                before.insert(next, module);
                queue.push_back(next);
            }
        }
    }
    let mut circle = vec![start.clone()];
    let mut at = *before.get(start)?;
    while at != start {
        circle.push(at.clone());
        at = before[at];
    }
    let least = (0..circle.len()).min_by_key(|&index| &circle[index])?;
    circle.rotate_left(least);
    circle[1..].reverse();
    Some(circle)
}

impl File {
    fn read(code: &str) -> Self {
        let tokens: Vec<_> = tokens(code).into_iter().map(|(_, token)| token).collect();
        let mut file = Self::default();
        let mut inline = InlineModules::default();
        let mut at = 0;
        while at < tokens.len() {
            inline.see(tokens[at], at.checked_sub(2).map(|before| tokens[before]));
            let rest = &tokens[at..];
            if rest[0] == "use" {
                let end = rest.iter().position(|token| *token == ";").unwrap_or(rest.len());
                if !tokens[..at].ends_with(&["cfg", "(", "test", ")", "]"]) {
                    let public = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                    file.import(&rest[1..end], &[], public, inline.depth());
                }
                at += end;
                continue;
            }
            let path = path(rest);
            at += (2 * path.len()).saturating_sub(2).max(1);
            if path.len() > 1 {
                file.paths.push(without_inline(path, inline.depth()));
            }
        }
        file
    }

    /// One tree of a `use`, below `prefix`.
    fn import(&mut self, tree: &[&str], prefix: &[String], public: bool, inline: usize) {
        let head = tree.iter().position(|token| *token == "{").unwrap_or(tree.len());
        let (names, alias) = match tree[..head].iter().position(|token| *token == "as") {
            Some(at) => (&tree[..at], tree.get(at + 1)),
            None => (&tree[..head], None),
        };
        let names = names.iter().filter(|token| **token != "::").map(|token| (*token).to_owned());
        let mut path: Path = prefix.iter().cloned().chain(names).collect();
        if head < tree.len() {
            for branch in branches(&tree[head + 1..tree.len() - 1]) {
                self.import(branch, &path, public, inline);
            }
        } else if path.last().is_some_and(|name| name != "*") {
            if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
                path.pop();
            }
            let name = alias.map_or_else(|| path[path.len() - 1].clone(), |name| (*name).to_owned());
            self.imports.push(Import { path: without_inline(path, inline), name, public });
        }
    }

    fn import_of(&self, name: &str) -> Option<&Import> {
        self.imports.iter().find(|import| import.name == name)
    }

    /// A path that starts with an imported name, from where that comes.
    fn through_imports(&self, path: &[String]) -> Path {
        match self.import_of(&path[0]) {
            Some(import) => [&import.path, &path[1..]].concat(),
            None => path.to_vec(),
        }
    }
}

/// The names of a path at the start of the tokens: `a :: b`.
fn path(tokens: &[&str]) -> Path {
    let is_name = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut names = Vec::new();
    for pair in tokens.chunks(2) {
        if !is_name(pair[0]) {
            break;
        }
        names.push(pair[0].to_owned());
        if pair.get(1) != Some(&"::") {
            break;
        }
    }
    names
}

/// The path relative to the file: `super` in an inline module at nesting `depth` stays in the file.
fn without_inline(path: Path, depth: usize) -> Path {
    let supers = path.iter().take_while(|name| *name == "super").count();
    match supers {
        0 => path,
        _ if supers <= depth => [&["self".to_owned()], &path[supers..]].concat(),
        _ => path[depth..].to_vec(),
    }
}

/// The parts of a group between its commas; nested groups stay whole.
fn branches<'a, 'b>(tokens: &'a [&'b str]) -> Vec<&'a [&'b str]> {
    let mut depth = 0;
    let parts = tokens.split(move |token| {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        *token == "," && depth == 0
    });
    parts.filter(|part| !part.is_empty()).collect()
}
