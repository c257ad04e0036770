#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use clap::{CommandFactory, Parser};

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_examples_and_describes_each_option() {
    for command in Cli::command().get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("Examples:\n  flagship "),
            "`flagship {name} --help` has no examples:\n{help}"
        );
        for option in command.get_arguments().filter(|option| option.get_id() != "help") {
            assert!(
                option.get_help().is_some(),
                "`flagship {name}`: {} has no description",
                option.get_id()
            );
        }
    }
}

#[test]
fn wrong_usage_is_told_by_the_parser() {
    for (arguments, told) in [
        (
            vec!["flagship", "install", "--port", "0"],
            "0 is not in 1..=65535",
        ),
        (
            vec!["flagship", "install", "--namespace", "Upper"],
            "lower-case letters",
        ),
        (vec!["flagship", "install", "--image", "a b"], "image reference"),
        (
            vec!["flagship", "install", "--service-address", "newyork"],
            "invalid IP address",
        ),
        (vec!["flagship", "crds", "-o", "xml"], "yaml, json"),
    ] {
        let error = Cli::try_parse_from(&arguments)
            .err()
            .unwrap_or_else(|| panic!("{arguments:?} was taken"));
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
        assert!(error.to_string().contains(told), "{arguments:?}: {error}");
    }
}

/// The arguments that a manifest gives to `flagship`.
fn arguments_in(manifest: &str) -> Vec<&str> {
    let yaml = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("        - "))
        .filter(|argument| argument.starts_with("--") || *argument == "witness");
    let unit = manifest
        .split("ExecStart=/usr/local/bin/flagship")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .into_iter()
        .flat_map(str::split_whitespace)
        .take_while(|word| !word.starts_with("LoadCredential"))
        .filter(|word| *word != "\\");
    yaml.chain(unit).collect()
}

#[test]
fn the_shipped_manifests_of_a_witness_are_understood() {
    for manifest in [
        include_str!("../../manifests/witness.yaml"),
        include_str!("../../manifests/witness.service"),
    ] {
        let arguments = arguments_in(manifest);
        assert!(arguments.len() > 4, "{arguments:?}");
        let parsed = Cli::try_parse_from(["flagship"].into_iter().chain(arguments));
        assert!(
            parsed.is_ok(),
            "{:?}",
            parsed.err().map(|error| error.to_string())
        );
    }
}
