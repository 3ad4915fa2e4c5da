//! The chart: how long calls took, by when they were made, and the breaker's state below.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use palisade::circuit_breaker::State;

use crate::{changes::Change, scene::OUTAGES, traffic::Answer};

const LEFT: f64 = 90.0;
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 200.0;
/// Where the panels begin, from the top.
const PANELS: [f64; 2] = [60.0, 300.0];
const BAND: f64 = 525.0;
/// From 0.1 milliseconds to 10 seconds, a decade each.
const DECADES: [&str; 6] = ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s"];

const STYLE: &str = "text{font:13px sans-serif;fill:#333}.title{font-size:17px;font-weight:bold}\
    .axis{stroke:#ccc;stroke-width:1}.down{fill:#fbe3e0}\
    .ok,.failed{fill:none;stroke-linecap:round;stroke-width:3.5}.ok{stroke:#2a7f9e;stroke-opacity:.55}\
    .failed{stroke:#d1382c;stroke-opacity:.75}\
    .closed{fill:#6bb58a}.open{fill:#d1382c}.half_open{fill:#e8b04a}.ramp_up{fill:#c9d36a}";

/// Draws what became of the calls of both clients, and the breaker that one of them has.
pub(crate) fn draw(bare: &[Answer], ours: &[Answer], changes: &[Change]) -> String {
    let ends = bare.iter().chain(ours).map(|answer| answer.sent + answer.took);
    let length = ends.chain(changes.iter().map(|change| change.at)).max().unwrap_or_default();
    let mut svg = String::new();
    let chart = Chart { scale: WIDTH / length.as_secs_f64().max(1.0), length };
    chart.write(&mut svg, [bare, ours], changes).expect("a string takes all that is written");
    svg
}

struct Chart {
    /// How wide a second is.
    scale: f64,
    length: Duration,
}

impl Chart {
    fn write(&self, svg: &mut String, answers: [&[Answer]; 2], changes: &[Change]) -> fmt::Result {
        writeln!(svg, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 610">"#)?;
        writeln!(svg, r#"<style>{STYLE}</style><rect width="980" height="610" fill="white"/>"#)?;
        let title = "Time of a call, by when it was made: blue succeeded, red failed; shaded: the API is down";
        writeln!(svg, r#"<text class="title" x="{LEFT}" y="26">{title}</text>"#)?;
        for ((answers, top), name) in answers.iter().zip(PANELS).zip(["bare", "palisade"]) {
            self.panel(svg, answers, top, name)?;
        }
        self.band(svg, changes)?;
        for second in (0..=self.length.as_secs()).step_by(2) {
            let x = self.x(Duration::from_secs(second));
            writeln!(svg, r#"<text x="{x:.1}" y="585" text-anchor="middle">{second} s</text>"#)?;
        }
        writeln!(svg, "</svg>")
    }

    fn panel(&self, svg: &mut String, answers: &[Answer], top: f64, name: &str) -> fmt::Result {
        for outage in OUTAGES {
            let (x, width) =
                (self.x(outage.start), (outage.end - outage.start).as_secs_f64() * self.scale);
            writeln!(
                svg,
                r#"<rect class="down" x="{x:.1}" y="{top}" width="{width:.1}" height="{HEIGHT}"/>"#
            )?;
        }
        let right = LEFT + WIDTH;
        for (decade, label) in DECADES.iter().enumerate() {
            let y = top + HEIGHT - HEIGHT * decade as f64 / (DECADES.len() - 1) as f64;
            writeln!(svg, r#"<path class="axis" d="M{LEFT} {y}H{right}"/>"#)?;
            writeln!(
                svg,
                r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{label}</text>"#,
                LEFT - 8.0,
                y + 4.0
            )?;
        }
        writeln!(svg, r#"<text x="{LEFT}" y="{}" font-weight="bold">{name}</text>"#, top - 8.0)?;
        for (class, failed) in [("ok", false), ("failed", true)] {
            // A dot is a line without length that has round ends.
            write!(svg, r#"<path class="{class}" d=""#)?;
            for answer in answers.iter().filter(|answer| answer.failure.is_some() == failed) {
                write!(svg, "M{:.1} {:.1}h0", self.x(answer.sent), top + y(answer.took))?;
            }
            writeln!(svg, r#""/>"#)?;
        }
        Ok(())
    }

    /// The states of the breaker, one after the other.
    fn band(&self, svg: &mut String, changes: &[Change]) -> fmt::Result {
        writeln!(
            svg,
            r#"<text x="{:.0}" y="{}" text-anchor="end">breaker</text>"#,
            LEFT - 8.0,
            BAND + 17.0
        )?;
        let begins = [(Duration::ZERO, State::Closed.as_str())];
        let states: Vec<_> =
            begins.into_iter().chain(changes.iter().map(|change| (change.at, change.to))).collect();
        let ends = states.iter().skip(1).map(|(at, _)| *at).chain([self.length]);
        for ((from, state), to) in states.iter().zip(ends) {
            let (x, width) = (self.x(*from), to.saturating_sub(*from).as_secs_f64() * self.scale);
            writeln!(
                svg,
                r#"<rect class="{state}" x="{x:.1}" y="{BAND}" width="{width:.1}" height="26"><title>{state}</title></rect>"#
            )?;
        }
        let legend = [State::Closed, State::Open, State::HalfOpen];
        for (place, state) in legend.iter().enumerate() {
            let (x, class) = (LEFT + 550.0 + 110.0 * place as f64, state.as_str());
            writeln!(svg, r#"<rect class="{class}" x="{x}" y="592" width="12" height="12"/>"#)?;
            writeln!(svg, r#"<text x="{}" y="603">{class}</text>"#, x + 18.0)?;
        }
        Ok(())
    }

    fn x(&self, time: Duration) -> f64 {
        LEFT + time.as_secs_f64() * self.scale
    }
}

/// How far below the top of a panel so long a time is.
fn y(took: Duration) -> f64 {
    let decades = (DECADES.len() - 1) as f64;
    let decade = (took.as_secs_f64() / 1e-4).max(1.0).log10().min(decades);
    HEIGHT * (1.0 - decade / decades)
}
