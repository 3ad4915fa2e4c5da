//! Running other programs, and saying what went wrong.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::Write,
    process::{Command, Stdio},
};

/// What a command of this crate ends with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed, for a person to read.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A program that has to be installed before a command can do its work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// The command line that succeeds if and only if the tool is there.
    pub(crate) probe: &'static str,
    /// The command line that installs it.
    pub(crate) install: &'static str,
}

impl Tool {
    /// # Errors
    ///
    /// Fails with the command that installs the tool, if it is missing.
    pub(crate) fn require(&self) -> Outcome {
        let found = command(self.probe)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());

        match found {
            true => Ok(()),
            false => Err(missing(self.name, self.install)),
        }
    }
}

pub(crate) fn missing(name: &str, install: &str) -> Failure {
    Failure::new(format!("{name} is missing, install it: {install}"))
}

/// Splits a command line at its spaces. There is no quoting.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = match words.next() {
        Some("cargo") => cargo(),
        Some(program) => Command::new(program),
        None => unreachable!("a split string has a first part"),
    };
    command.args(words);
    command
}

/// The cargo that runs this program, so that both use one toolchain.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// # Errors
///
/// Fails when the command cannot be started or does not succeed. What it prints, it prints itself.
pub(crate) fn succeed(command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| Failure::new(format!("cannot run {}: {error}", line_of(command))))?;

    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("{status}: {}", line_of(command)))),
    }
}

/// Gives the command this text to read.
///
/// # Errors
///
/// As [`succeed`].
pub(crate) fn feed(command: &mut Command, text: &str) -> Outcome {
    let line = line_of(command);
    let failure = |error| Failure::new(format!("cannot run {line}: {error}"));
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(failure)?;
    // Closed as soon as all is written, or the command would wait for more.
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let status = child.wait().map_err(failure)?;
    match status.success() {
        true => fed.map_err(failure),
        false => Err(Failure::new(format!("{status}: {line}"))),
    }
}

/// # Errors
///
/// Fails when the command cannot be started, does not succeed, or prints something else than text.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot run {}: {error}", line_of(command))))?;

    match output.status.success() {
        true => String::from_utf8(output.stdout)
            .map_err(|error| Failure::new(format!("{}: {error}", line_of(command)))),
        false => Err(Failure::new(format!("{}: {}", output.status, line_of(command)))),
    }
}

/// The command as a person would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let cargo = cargo();
    let program = match command.get_program() {
        program if program == cargo.get_program() => "cargo".into(),
        program => program.to_string_lossy(),
    };

    command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .fold(program.into_owned(), |line, argument| line + " " + &argument)
}
