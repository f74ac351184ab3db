//! How this server was started, so that it can be started again: as a newer version of itself, or
//! beside itself.
//!
//! Not for what the new process inherits (sockets, state): that is its caller's. Invariant: it is
//! what it was at the start, whatever the configuration has made of the process since.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Program, arguments, environment and directory of the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartCommand {
    /// The program: the interpreter, by the name that leads to a newer one after an upgrade.
    pub program: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

impl StartCommand {
    /// Takes variables out of the environment that were said to this process alone.
    pub(crate) fn forget(&mut self, names: &[&str]) {
        self.environment
            .retain(|(name, _)| !names.iter().any(|forgotten| name == forgotten));
    }

    /// The command, ready to be given more variables and to be spawned.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory);
        command
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::StartCommand;

    #[test]
    fn what_is_forgotten_is_not_said_again() {
        let mut start = StartCommand {
            environment: vec![
                ("COLOUR".into(), "green".into()),
                ("SHAPE".into(), "round".into()),
            ],
            ..StartCommand::default()
        };
        start.forget(&["SHAPE", "SIZE"]);
        let left: Vec<OsString> = start
            .environment
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(left, ["COLOUR"]);
    }

    #[test]
    fn the_command_has_the_environment_and_the_directory_of_the_start_and_nothing_else() {
        let start = StartCommand {
            program: PathBuf::from("/bin/sh"),
            arguments: ["-c", "pwd; export -p"].map(OsString::from).to_vec(),
            environment: vec![("COLOUR".into(), "green".into())],
            directory: PathBuf::from("/"),
        };
        let output = start.command().output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("/\n"), "{said}");
        assert!(said.contains("COLOUR"), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
    }
}
