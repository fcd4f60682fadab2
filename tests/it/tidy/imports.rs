//! Which room may use which: the table of `docs/architecture.md`, held against `src/`.

use std::collections::BTreeMap;

use super::source::{Source, is_name};

/// The heading that the table stands under.
const HEADER: &str = "| room | may import |";
/// Files that see every room: they are the map and the front door, not rooms.
const FREE: [&str; 2] = ["lib", "main"];

/// The table: rooms in building order, each with what it may import.
pub(super) struct Table {
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// Reads the table out of the page. `all above` stands for every room in the rows before.
    ///
    /// # Errors
    /// A sentence for each row that names an unknown room, names one twice, or imports a room from below itself:
    /// arrows run one way only.
    pub(super) fn parse(page: &str) -> Result<Self, Vec<String>> {
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        let mut problems = Vec::new();
        for line in page.lines().skip_while(|line| *line != HEADER).skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let [room, imports] = cells.as_slice() else {
                problems.push(format!("`{line}` does not have two cells"));
                continue;
            };
            let above: Vec<_> = rows.iter().map(|(name, _)| name.clone()).collect();
            if above.contains(room) {
                problems.push(format!("room `{room}` stands in the table twice"));
            }
            let imports = match imports.as_str() {
                "all above" => above.clone(),
                "nothing" => Vec::new(),
                list => list.split(',').map(|name| name.trim().to_owned()).collect(),
            };
            let foreign = imports.iter().filter(|name| !above.contains(name));
            problems.extend(foreign.map(|name| format!("`{room}` may import `{name}`, which is not a row above it")));
            rows.push((room.clone(), imports));
        }
        if rows.is_empty() {
            problems.push(format!("no table under `{HEADER}`"));
        }
        if problems.is_empty() { Ok(Self { rows }) } else { Err(problems) }
    }

    fn imports_of(&self, room: &str) -> Option<&[String]> {
        self.rows.iter().find(|(name, _)| name == room).map(|(_, imports)| imports.as_slice())
    }

    /// A sentence, with file and line, for each arrow that the table does not have.
    pub(super) fn violations(&self, sources: &[Source]) -> Vec<String> {
        let mut found = Vec::new();
        for source in sources.iter().filter(|source| !FREE.contains(&source.room())) {
            let room = source.room();
            let Some(allowed) = self.imports_of(room) else {
                found.push(format!("{}: room `{room}` is not in the import table", source.path));
                continue;
            };
            for (at, target) in arrows(source) {
                let line = source.line_at(at);
                if target != room && !allowed.contains(&target) {
                    found.push(format!("{}:{line}: `{room}` may not import `{target}`", source.path));
                }
            }
            found.extend(escapes(source).into_iter().map(|line| {
                format!("{}:{line}: this `super` leaves the room; say `crate::` so that it can be seen", source.path)
            }));
        }
        found
    }
}

/// Each `crate::name`, and each name of `crate::{…}`, with its place.
fn arrows(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in source.words("crate::") {
        let rest = &source.code[at + "crate::".len()..];
        let rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(first_names(group).into_iter().map(|name| (at, name)));
        } else {
            found.push((at, leading_name(rest)));
        }
    }
    found
}

/// The first name of each branch of a use group: `{a::x, b::{c, d}}` gives `a` and `b`.
fn first_names(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut branches = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => branches.push(String::new()),
            _ if depth == 0 => branches.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    branches.iter().map(|branch| leading_name(branch.trim())).filter(|name| !name.is_empty()).collect()
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|&c| is_name(c)).collect()
}

/// Lines where a chain of `super::` climbs out of the room.
fn escapes(source: &Source) -> Vec<usize> {
    let below = source.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let file_depth = below.split('/').count();
    let inline = inline_modules(&source.code);
    let mut lines = Vec::new();
    for at in source.words("super::") {
        if source.code[..at].ends_with("super::") {
            continue;
        }
        let climbs = source.code[at..].split("::").take_while(|part| *part == "super").count();
        let depth = file_depth + inline.iter().filter(|(start, end)| (**start..**end).contains(&at)).count();
        if climbs >= depth {
            lines.push(source.line_at(at));
        }
    }
    lines
}

/// Start and end of each `mod name { … }`.
fn inline_modules(code: &str) -> BTreeMap<usize, usize> {
    let mut modules = BTreeMap::new();
    for at in super::source::words(code, "mod ") {
        let rest = &code[at + "mod ".len()..];
        let name = leading_name(rest);
        if !rest[name.len()..].trim_start().starts_with('{') {
            continue;
        }
        let mut depth = 0_usize;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => return false,
            }
            depth == 0
        });
        modules.insert(at, end.map_or(code.len(), |(end, _)| at + end + "mod ".len()));
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# x\n\n| room | may import |\n|---|---|\n| `time` | nothing |\n| `mail` | time |\n\
                        | `policy` | mail, time |\n| `cli` | all above |\n\n| other | table |\n";

    fn check(path: &str, text: &str) -> Vec<String> {
        Table::parse(PAGE).ok().unwrap().violations(&[Source::new(path, text)])
    }

    #[test]
    fn a_forbidden_arrow_is_named_with_file_and_line() {
        let found = check("src/mail/address.rs", "use crate::time::Timestamp;\n\nuse crate::policy::decide;\n");
        assert_eq!(found, ["src/mail/address.rs:3: `mail` may not import `policy`"]);
    }

    #[test]
    fn groups_and_paths_in_bodies_are_arrows_too() {
        assert_eq!(check("src/mail/a.rs", "use crate::{time::{A, B}, policy};").len(), 1);
        assert_eq!(check("src/time.rs", "fn f() { crate::mail::g() }").len(), 1);
        assert_eq!(check("src/cli/serve.rs", "use crate::{time::{A, B}, policy, mail::Mailbox};").len(), 0);
    }

    #[test]
    fn tests_comments_and_the_own_room_are_free() {
        let text = "use crate::mail::Reply;\n// crate::policy\npub(crate) fn f() {}\n#[cfg(test)]\nmod t { use crate::policy::P; }\n";
        assert!(check("src/mail/a.rs", text).is_empty());
        assert!(check("src/lib.rs", "pub use crate::policy::decide;").is_empty());
    }

    #[test]
    fn super_may_not_climb_out_of_the_room() {
        assert_eq!(
            check("src/mail/mod.rs", "use super::policy::P;"),
            ["src/mail/mod.rs:1: this `super` leaves the room; say `crate::` so that it can be seen"]
        );
        assert_eq!(check("src/mail/a.rs", "use super::super::policy::P;").len(), 1);
        assert_eq!(check("src/mail/a/b.rs", "use super::super::x;\nuse super::y;").len(), 0);
        assert_eq!(check("src/mail/mod.rs", "mod inner { use super::X; }\nuse super::y;").len(), 1);
    }

    #[test]
    fn a_room_without_a_row_is_found() {
        assert_eq!(check("src/shed/mod.rs", ""), ["src/shed/mod.rs: room `shed` is not in the import table"]);
    }

    #[test]
    fn a_table_whose_arrows_turn_back_is_refused() {
        let page = PAGE.replace("| `time` | nothing |", "| `time` | policy |");
        let problems = Table::parse(&page).err().unwrap();
        assert_eq!(problems, ["`time` may import `policy`, which is not a row above it"]);
        let twice = PAGE.replace("| `cli` | all above |", "| `mail` | time |\n| `cli` | all above |");
        assert_eq!(Table::parse(&twice).err().unwrap(), ["room `mail` stands in the table twice"]);
        assert!(Table::parse("no table").is_err());
    }
}
