//! Prometheus text, by hand: the format is a line per number.
//!
//! Names end in a unit or `_total` (STYLE 6). Every queue, operator, rung and
//! refusal has one; whatever is dropped is counted somewhere here.

use std::fmt::{Display, Write};

/// Builds the text exposition format.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Starts a metric family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name: name.to_owned() }
    }

    /// The finished text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// The samples of one metric.
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Family<'_> {
    /// Adds a sample with labels.
    pub fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) -> &mut Self {
        self.suffixed("", labels, value)
    }

    /// Adds a sample of a histogram: `suffix` is `_bucket`, `_sum` or `_count`.
    pub fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let text =
                text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_labels() {
        let mut exposition = Exposition::default();
        exposition
            .family("a_total", "counter", "Things.")
            .sample(&[], 1)
            .sample(&[("x", &"say \"hi\"\\\n"), ("y", &2)], 0.5);
        assert_eq!(
            exposition.finish(),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n\
             a_total{x=\"say \\\"hi\\\"\\\\\\n\",y=\"2\"} 0.5\n"
        );
    }
}
