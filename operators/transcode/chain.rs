//! Chains of GStreamer elements, as data.
//!
//! Enters: names, properties and caps from the tables in `candidates`. Leaves:
//! linked elements in a pipeline, or an error that names the element and its
//! Debian package. The text form is that of `gst-launch-1.0`, so a chain can
//! be tried by hand.

use std::fmt;

use gstreamer::prelude::*;
use gstreamer::{self as gst};

use super::TranscodeError;

/// One link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An element and its properties. Properties that this version of the
    /// element doesn't have are skipped: they tune, they don't decide.
    Element {
        /// Name of the factory.
        factory: &'static str,
        /// Property name and value in text form.
        properties: Vec<(&'static str, String)>,
    },
    /// A filter on what passes.
    Caps(String),
}

impl Step {
    pub fn element(factory: &'static str, properties: &[(&'static str, &str)]) -> Self {
        let properties = properties.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        Self::Element { factory, properties }
    }
}

/// Elements in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(pub Vec<Step>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ! ")?;
            }
            match step {
                Step::Element { factory, properties } => {
                    f.write_str(factory)?;
                    for (name, value) in properties {
                        write!(f, " {name}={value}")?;
                    }
                }
                Step::Caps(caps) => f.write_str(caps)?,
            }
        }
        Ok(())
    }
}

impl Chain {
    /// Makes the elements, one per step; they are neither added nor linked yet.
    pub fn make(&self) -> Result<Vec<gst::Element>, TranscodeError> {
        self.0
            .iter()
            .map(|step| match step {
                Step::Element { factory, properties } => {
                    let element = make(factory)?;
                    for (name, value) in properties {
                        set(&element, name, value);
                    }
                    Ok(element)
                }
                Step::Caps(text) => {
                    let caps: gst::Caps = text.parse().map_err(|_| TranscodeError::Element {
                        element: "capsfilter",
                        reason: format!("caps {text:?} can't be parsed"),
                    })?;
                    let filter = make("capsfilter")?;
                    filter.set_property("caps", caps);
                    Ok(filter)
                }
            })
            .collect()
    }
}

/// Makes one element.
pub(super) fn make(factory: &'static str) -> Result<gst::Element, TranscodeError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| TranscodeError::Missing { element: factory, package: package_of(factory) })
}

/// Sets a property from text, if the element has it and takes the value.
pub(super) fn set(element: &gst::Element, name: &str, value: &str) {
    let Some(spec) = element.find_property(name) else {
        tracing::debug!(element = %element.name(), name, "property unknown to this version");
        return;
    };
    match gst::glib::Value::deserialize_with_pspec(value, &spec) {
        Ok(parsed) if in_range(&spec, &parsed) => element.set_property_from_value(name, &parsed),
        _ => tracing::warn!(element = %element.name(), name, value, "property refused"),
    }
}

/// Whether a number is within the property's range (setting it would panic otherwise).
fn in_range(spec: &gst::glib::ParamSpec, value: &gst::glib::Value) -> bool {
    use gst::glib::{ParamSpecInt, ParamSpecUInt};
    if let (Some(spec), Ok(value)) = (spec.downcast_ref::<ParamSpecUInt>(), value.get::<u32>()) {
        return (spec.minimum()..=spec.maximum()).contains(&value);
    }
    if let (Some(spec), Ok(value)) = (spec.downcast_ref::<ParamSpecInt>(), value.get::<i32>()) {
        return (spec.minimum()..=spec.maximum()).contains(&value);
    }
    true
}

/// Adds the elements to the pipeline and links them in order.
pub(super) fn link(
    pipeline: &gst::Pipeline,
    elements: &[gst::Element],
) -> Result<(), TranscodeError> {
    let refused = |error: gst::glib::BoolError| TranscodeError::Element {
        element: "pipeline",
        reason: error.to_string(),
    };
    pipeline.add_many(elements).map_err(refused)?;
    gst::Element::link_many(elements).map_err(refused)
}

/// The Debian package that an element comes in, for messages.
pub(super) fn package_of(factory: &str) -> &'static str {
    match factory {
        "appsrc" | "appsink" | "videoconvertscale" | "videoconvert" => "gstreamer1.0-plugins-base",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "jpegenc" => "gstreamer1.0-plugins-good",
        "capsfilter" | "identity" => "libgstreamer1.0-0",
        name if name.starts_with("avdec_") => "gstreamer1.0-libav",
        _ => "gstreamer1.0-plugins-bad",
    }
}
