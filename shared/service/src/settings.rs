//! Settings from flags and environment variables: all that is wrong is said at once, and what is in force is logged.

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};
use sightline_telemetry::TelemetrySettings;
use std::ffi::OsString;

/// The settings of a service: a struct that clap reads, which includes where the process reports.
pub trait Settings: CommandFactory + FromArgMatches {
    /// A sentence for each value or combination of values that can't work, though each has the right form.
    fn problems(&self) -> Vec<String>;

    /// Where the process logs, and where it answers probes.
    fn telemetry(&self) -> &TelemetrySettings;
}

/// Settings as read, and as text for the log.
#[derive(Debug)]
pub struct Parsed<S> {
    /// As clap read them.
    pub settings: S,
    /// Name and value of each setting, secrets masked.
    pub effective: Vec<(String, String)>,
}

/// Why no settings came out.
#[derive(Debug)]
pub enum Refusal {
    /// `--help` or `--version`: the text to print on stdout.
    Asked(String),
    /// Every problem found, a sentence each.
    Wrong(Vec<String>),
}

const HEALTH: &str = "\
`health` as the first argument asks the service that runs with this --http-listen whether it is ready: exit status 0, or \
1 with the reason. For containers without a shell.";

/// Reads settings from the arguments (the first is the program's name) and the environment.
///
/// # Errors
/// [`Refusal`], with everything that is wrong.
pub fn parse<S: Settings>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed<S>, Refusal> {
    let command = S::command().after_help(HEALTH);
    let (matches, mut problems) = collect(command.clone(), arguments.into_iter().collect())?;
    match S::from_arg_matches(&matches) {
        Ok(settings) => {
            problems.extend(settings.problems());
            if problems.is_empty() {
                let effective = effective(&command, &matches);
                return Ok(Parsed {
                    settings,
                    effective,
                });
            }
        }
        // A required value is missing, which has been said.
        Err(_) if !problems.is_empty() => {}
        Err(error) => problems.push(sentence(&error)),
    }
    Err(Refusal::Wrong(problems))
}

/// clap stops at the first error. What it complained of is noted and taken away, until nothing is left to note.
fn collect(
    mut command: Command,
    mut arguments: Vec<OsString>,
) -> Result<(ArgMatches, Vec<String>), Refusal> {
    let mut problems = Vec::new();
    loop {
        let error = match command.clone().try_get_matches_from(arguments.iter()) {
            Ok(matches) => return Ok((matches, problems)),
            Err(error) => error,
        };
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            return Err(Refusal::Asked(error.render().ansi().to_string()));
        }
        let problem = sentence(&error);
        let stuck = problems.contains(&problem);
        problems.push(problem);
        match without(command, &mut arguments, &error) {
            Some(next) if !stuck => command = next,
            _ => return Err(Refusal::Wrong(problems)),
        }
    }
}

/// The command and the arguments without what `error` complained of, or none where that can't be told.
fn without(
    command: Command,
    arguments: &mut Vec<OsString>,
    error: &clap::Error,
) -> Option<Command> {
    let named = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => vec![name.clone()],
        ContextValue::Strings(names) => names.clone(),
        _ => return None,
    };
    if error.kind() == ErrorKind::UnknownArgument {
        named.iter().for_each(|name| take_away(arguments, name, 0));
        return Some(command);
    }
    // Only a built argument can print itself, and only an unbuilt command can be changed.
    let mut built = command.clone();
    built.build();
    let mut complained = built
        .get_arguments()
        .filter(|arg| named.contains(&arg.to_string()));
    complained.try_fold(command.clone(), |command, arg| {
        take_away(arguments, &format!("--{}", arg.get_long()?), 1);
        Some(command.mut_arg(arg.get_id(), |arg| arg.required(false).env(None::<&str>)))
    })
}

/// Removes each `flag` with that many values after it, and each `flag=value`.
fn take_away(arguments: &mut Vec<OsString>, flag: &str, values: usize) {
    let with_value = format!("{flag}=");
    let mut skip = 0;
    arguments.retain(|argument| {
        let text = argument.to_string_lossy();
        if text == flag {
            skip = values;
            return false;
        }
        let follows = skip > 0 && !text.starts_with("--");
        skip = skip.saturating_sub(1);
        !follows && !text.starts_with(&with_value)
    });
}

/// clap's message without its `error: ` and its hint at --help.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or(&text);
    let text = text
        .split("\n\nFor more information")
        .next()
        .unwrap_or(text);
    text.trim_start_matches("error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn effective(command: &Command, matches: &ArgMatches) -> Vec<(String, String)> {
    let shown = |arg: &Arg| {
        let name = arg.get_long()?.to_owned();
        let values = matches.try_get_raw(arg.get_id().as_str()).ok()??;
        let text = values
            .map(|value| value.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(",");
        let secret = arg.is_hide_env_values_set() && !text.is_empty();
        Some((name, if secret { "***".to_owned() } else { text }))
    };
    command.get_arguments().filter_map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Example {
        #[arg(long, default_value_t = 8)]
        batch: usize,
        #[arg(long)]
        listen: Option<std::net::SocketAddr>,
        #[arg(long, hide_env_values = true)]
        password: Option<String>,
        #[arg(long)]
        bucket: String,
        #[command(flatten)]
        telemetry: TelemetrySettings,
    }

    impl Settings for Example {
        fn problems(&self) -> Vec<String> {
            (self.batch == 0)
                .then(|| "--batch must be at least 1".to_owned())
                .into_iter()
                .collect()
        }

        fn telemetry(&self) -> &TelemetrySettings {
            &self.telemetry
        }
    }

    fn read(arguments: &[&str]) -> Result<Parsed<Example>, Refusal> {
        parse(["example"].iter().chain(arguments).map(OsString::from))
    }

    fn problems(arguments: &[&str]) -> Vec<String> {
        match read(arguments) {
            Err(Refusal::Wrong(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_all_that_is_wrong_at_once() {
        let found = problems(&["--batch", "many", "--listen=nowhere", "--unheard-of"]);
        assert_eq!(found.len(), 4, "{found:#?}");
        for name in ["--batch", "--listen", "--unheard-of", "--bucket"] {
            assert!(
                found.iter().any(|problem| problem.contains(name)),
                "{name} in {found:#?}"
            );
        }
    }

    #[test]
    fn combinations_are_checked_beside_values_that_cannot_be_read() {
        let zero = "--batch must be at least 1";
        assert_eq!(problems(&["--batch", "0", "--bucket", "b"]), [zero]);
        let found = problems(&["--listen", "nowhere", "--batch", "0", "--bucket", "b"]);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("--listen") && found[1] == zero);
    }

    #[test]
    fn shows_what_is_in_force_but_no_secret() {
        let parsed = read(&["--bucket", "photos", "--password", "hunter2"]).unwrap();
        assert!(parsed.effective.contains(&("batch".into(), "8".into())));
        assert!(
            parsed
                .effective
                .contains(&("password".into(), "***".into()))
        );
        assert_eq!(parsed.settings.bucket, "photos");
    }

    #[test]
    fn help_is_not_a_problem() {
        assert!(
            matches!(read(&["--help"]), Err(Refusal::Asked(text)) if text.contains("--bucket"))
        );
    }
}
