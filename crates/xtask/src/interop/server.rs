//! A program that serves others for the time of a run.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use crate::run::{Failure, Outcome, line_of};

/// A program that serves until this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    // Ends by itself when its standard input does, should this program be killed.
    child: Child,
    printer: Option<JoinHandle<()>>,
}

impl Server {
    /// Waits until the program says where it listens, and reads that off its first line.
    pub(super) fn start<T>(
        command: &mut Command,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Outcome<(Self, T)> {
        let name = line_of(command);
        let failure = |what: &str| Failure::new(format!("cannot start {name}: {what}"));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = spawned.map_err(|error| failure(&error.to_string()))?;
        // From here on, it is killed whatever happens.
        let mut server = Self { child, printer: None };
        let output = server.child.stdout.take().ok_or_else(|| failure("it has no output"))?;
        let (mut output, mut line) = (BufReader::new(output), String::new());
        output.read_line(&mut line).map_err(|error| failure(&error.to_string()))?;
        let address = read(&line).ok_or_else(|| failure(&format!("it says {line:?}")))?;
        // If nobody read the rest, it would wait for that.
        let print = move || drop(io::copy(&mut output, &mut io::stdout()));
        server.printer = Some(thread::spawn(print));
        Ok((server, address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(printer) = self.printer.take() {
            let _ = printer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::command;

    #[test]
    fn kills_a_server_that_does_not_say_where_it_listens() {
        let started = Server::start(&mut command("echo hello"), |_| None::<()>);

        let failure = started.unwrap_err().to_string();
        assert_eq!(failure, "cannot start echo hello: it says \"hello\\n\"");
    }
}
