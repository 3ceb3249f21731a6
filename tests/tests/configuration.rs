//! docs/configuration.md is what clap knows of the settings: written by this test where `SIGHTLINE_WRITE_DOCS` is set,
//! compared by it otherwise.
#![allow(clippy::unwrap_used)]

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

const INTRODUCTION: &str = "\
# Configuration

Every setting is a flag and an environment variable; the flag wins. A service prints all that is wrong with its settings
at once and exits with status 2, and logs those in force when it starts, without secrets. Durations are written `10ms`,
`5s`, `2m`. Sizes are numbers of bytes.

This page is generated from the programs:
`SIGHTLINE_WRITE_DOCS=1 cargo test --workspace --test configuration`.
";

#[test]
fn configuration_md_is_what_the_programs_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = page();
    if env::var_os("SIGHTLINE_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = page
        .lines()
        .zip(found.lines())
        .find(|(now, then)| now != then);
    assert!(
        page == found,
        "docs/configuration.md is not what the programs say, first at {differs:?}; \
         SIGHTLINE_WRITE_DOCS=1 cargo test --workspace --test configuration writes it"
    );
}

fn page() -> String {
    let services = [
        sightline_ingest::Settings::command(),
        sightline_preprocess::Settings::command(),
        sightline_infer::Settings::command(),
        sightline_postprocess::Settings::command(),
    ]
    .map(|mut command| {
        command.build();
        command
    });
    let mut page = INTRODUCTION.to_owned();
    // What two services or more share, under the same heading, comes once.
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &services {
        for (_, rows) in tables(service) {
            users
                .entry(rows)
                .or_default()
                .push(service.get_name().to_owned());
        }
    }
    writeln!(page, "\n## Settings that services share").unwrap();
    let mut written = Vec::new();
    for (heading, rows) in services.iter().flat_map(tables) {
        let by = &users[&rows];
        if by.len() > 1 && !written.contains(&rows) {
            let by = if by.len() == services.len() {
                "all services".to_owned()
            } else {
                by.join(", ")
            };
            write!(page, "\n### {heading}\n\nOf {by}.\n\n{rows}").unwrap();
            written.push(rows);
        }
    }
    for service in &services {
        write!(page, "\n## {}\n\n{}\n", service.get_name(), about(service)).unwrap();
        for (heading, rows) in tables(service)
            .into_iter()
            .filter(|(_, rows)| users[rows].len() == 1)
        {
            write!(page, "\n### {heading} of {}\n\n{rows}", service.get_name()).unwrap();
        }
    }
    write!(page, "\n## The command `sightline`\n").unwrap();
    commands(&mut page, "sightline", &sightline_cli::command(), &written);
    page
}

/// A section for each command, with the tables that don't stand in the page already.
fn commands(page: &mut String, path: &str, command: &Command, written: &[String]) {
    if command.get_subcommands().next().is_none() {
        write!(page, "\n### `{path}`\n\n{}\n", about(command)).unwrap();
    }
    for (heading, rows) in tables(command) {
        if written.contains(&rows) {
            write!(
                page,
                "\n{heading}: [as for the services](#settings-that-services-share).\n"
            )
            .unwrap();
        } else {
            write!(page, "\n{rows}").unwrap();
        }
    }
    for next in command
        .get_subcommands()
        .filter(|next| next.get_name() != "help")
    {
        commands(page, &format!("{path} {}", next.get_name()), next, written);
    }
}

fn about(command: &Command) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{}.", about.trim_end_matches('.'))
}

/// The settings of a command by their headings, in the order of `--help`, each group a table.
fn tables(command: &Command) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for arg in command.get_arguments().filter(|arg| shown(command, arg)) {
        let heading = arg.get_help_heading().unwrap_or("Settings").to_owned();
        let row = row(arg);
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, rows)) => rows.push_str(&row),
            None => {
                let head = "| flag | variable | default | meaning |\n|---|---|---|---|\n";
                groups.push((heading, head.to_owned() + &row));
            }
        }
    }
    groups
}

/// Global settings are shown at the command that has them, not at those below it.
fn shown(command: &Command, arg: &Arg) -> bool {
    let everywhere = matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    let inherited = arg.is_global_set() && command.get_name() != "sightline";
    !(arg.is_hide_set() || everywhere || inherited)
}

fn row(arg: &Arg) -> String {
    let value = match (arg.get_action(), arg.get_value_names()) {
        (ArgAction::Set | ArgAction::Append, Some([name, ..])) => format!(" {name}"),
        _ => String::new(),
    };
    let flag = match arg.get_long() {
        Some(long) => format!("`--{long}{value}`"),
        None => format!("`{}`", value.trim()),
    };
    let variable = arg
        .get_env()
        .map(|name| format!("`{}`", name.to_string_lossy()));
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let silent = arg.is_hide_default_value_set() || matches!(arg.get_action(), ArgAction::SetTrue);
    let default =
        (!defaults.concat().is_empty() && !silent).then(|| format!("`{}`", defaults.join(" ")));
    let possible: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|_| !matches!(arg.get_action(), ArgAction::SetTrue))
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !possible.is_empty() {
        write!(meaning, ": {}", possible.join(", ")).unwrap();
    }
    let cell = |text: Option<String>| {
        text.unwrap_or_default()
            .replace('|', "\\|")
            .replace('\n', " ")
    };
    format!(
        "| {} | {} | {} | {} |\n",
        cell(Some(flag)),
        cell(variable),
        cell(default),
        cell(Some(meaning))
    )
}
