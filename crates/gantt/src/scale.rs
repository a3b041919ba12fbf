//! Time scale: conversion between moments and pixels, and zoom.

use pmo_planning::{Moment, Span};

/// Parts of a pixel in which a scale counts.
const PARTS: f64 = 64.0;
/// Tenths of a minute in a day.
const DAY_TENTHS: f64 = 14_400.0;
/// Pixels per day at which an hour is 60 pixels wide: the closest zoom.
const MAX_PIXELS_PER_DAY: f64 = 1_440.0;
/// Pixels per day at which a quarter is 18 pixels wide: the widest zoom.
const MIN_PIXELS_PER_DAY: f64 = 0.2;

/// Linear scale of time. Pixels count from the origin, the left edge of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    origin: Moment,
    /// Tenths of a minute per pixel, in 64ths.
    density: u32,
}

impl TimeScale {
    /// Creates a scale whose left edge is `origin`; the zoom is moved into its limits.
    pub fn new(origin: Moment, pixels_per_day: f64) -> Self {
        let pixels = if pixels_per_day.is_nan() { Zoom::Weeks.pixels_per_day() } else { pixels_per_day };
        let pixels = pixels.clamp(MIN_PIXELS_PER_DAY, MAX_PIXELS_PER_DAY);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the limits
        let density = (DAY_TENTHS / pixels * PARTS).round() as u32;
        Self { origin, density }
    }

    /// Creates the scale at which the time from `from` to `to` is `width` pixels wide.
    pub fn fitting(origin: Moment, from: Moment, to: Moment, width: f64) -> Self {
        let days = f64::from(to.since(from).0.max(1)) / DAY_TENTHS;
        Self::new(origin, width.max(1.0) / days)
    }

    /// Returns the moment at the left edge.
    pub const fn origin(self) -> Moment {
        self.origin
    }

    /// Returns the width of a day in pixels.
    pub fn pixels_per_day(self) -> f64 {
        DAY_TENTHS * PARTS / f64::from(self.density)
    }

    /// Returns the pixel position of a moment.
    pub fn x(self, moment: Moment) -> f64 {
        (f64::from(moment.0) - f64::from(self.origin.0)) * PARTS / f64::from(self.density)
    }

    /// Returns the moment nearest to a pixel position; `x` of it is the same whole pixel.
    pub fn moment(self, x: f64) -> Moment {
        let tenths = (x * f64::from(self.density) / PARTS).round() + f64::from(self.origin.0);
        #[allow(clippy::cast_possible_truncation)] // `as` saturates; NaN becomes 0
        Moment::clamped(tenths as i64)
    }

    /// Returns the time that a number of pixels stands for.
    pub fn span(self, pixels: f64) -> Span {
        #[allow(clippy::cast_possible_truncation)] // `as` saturates; NaN becomes 0
        Span::clamped((pixels * f64::from(self.density) / PARTS).round() as i64)
    }

    /// Returns the same scale with another zoom.
    #[must_use]
    pub fn zoomed(self, factor: f64) -> Self {
        if factor.is_nan() || factor <= 0.0 {
            return self;
        }
        Self::new(self.origin, self.pixels_per_day() * factor)
    }

    /// Returns the zoomed scale and the scroll position at which the moment under the pointer stays
    /// where it is.
    ///
    /// `scroll` is the pixel position of the left edge of the view, and `pointer` the distance of
    /// the pointer from that edge.
    #[must_use]
    pub fn zoomed_at(self, scroll: f64, pointer: f64, factor: f64) -> (Self, f64) {
        let zoomed = self.zoomed(factor);
        let fixed = (scroll + pointer) * f64::from(self.density) / f64::from(zoomed.density);
        (zoomed, fixed - pointer)
    }

    /// Returns the step to which dates snap: whole days, or parts of an hour where days are wide.
    pub fn snap(self) -> Span {
        match self.pixels_per_day() {
            wide if wide >= 720.0 => Span::minutes(15),
            wide if wide >= 240.0 => Span::hours(1),
            _ => Span::hours(24),
        }
    }
}

/// Named zoom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// Hours below days.
    Hours,
    /// Days below months.
    Days,
    /// Weeks below months.
    Weeks,
    /// Months below years.
    Months,
    /// Quarters below years.
    Quarters,
}

impl Zoom {
    /// All zooms, from the closest.
    pub const ALL: [Self; 5] = [Self::Hours, Self::Days, Self::Weeks, Self::Months, Self::Quarters];

    /// Returns the width of a day in pixels.
    pub const fn pixels_per_day(self) -> f64 {
        match self {
            Self::Hours => 960.0,
            Self::Days => 36.0,
            Self::Weeks => 11.0,
            Self::Months => 2.4,
            Self::Quarters => 0.7,
        }
    }

    /// Returns the label of the zoom.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hours => "Hour",
            Self::Days => "Day",
            Self::Weeks => "Week",
            Self::Months => "Month",
            Self::Quarters => "Quarter",
        }
    }

    /// Returns the zoom that is nearest to a scale.
    pub fn nearest(scale: TimeScale) -> Self {
        let distance = |zoom: &Self| (zoom.pixels_per_day() / scale.pixels_per_day()).ln().abs();
        Self::ALL.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(Self::Weeks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> Moment {
        Moment::from_civil(2026, 1, 5, 0, 0)
    }

    proptest! {
        #[test]
        fn pixel_to_moment_and_back_is_the_same_pixel(x in 0_u32..400_000, pixels in 0.2_f64..1_440.0) {
            // Moments end in 2203.
            prop_assume!(f64::from(x) / pixels < 60_000.0);
            let scale = TimeScale::new(origin(), pixels);
            prop_assert_eq!(scale.x(scale.moment(f64::from(x))).round(), f64::from(x));
        }

        #[test]
        fn zooming_keeps_the_moment_under_the_pointer(
            scroll in 0_u32..100_000, pointer in 0_u32..1_400, pixels in 0.2_f64..1_440.0, factor in 0.1_f64..10.0,
        ) {
            let (scroll, pointer) = (f64::from(scroll), f64::from(pointer));
            let scale = TimeScale::new(origin(), pixels);
            let (zoomed, position) = scale.zoomed_at(scroll, pointer, factor);
            let (before, after) = (scale.moment(scroll + pointer), zoomed.moment(position + pointer));
            prop_assert!((f64::from(before.0) - f64::from(after.0)).abs() <= 1.0, "{before} {after}");
        }

        #[test]
        fn hostile_numbers_give_a_usable_scale(pixels in proptest::num::f64::ANY, factor in proptest::num::f64::ANY) {
            let scale = TimeScale::new(origin(), pixels).zoomed(factor);
            prop_assert!((0.19..1_450.0).contains(&scale.pixels_per_day()));
            prop_assert!(scale.moment(factor) >= Moment::MIN);
        }
    }

    #[test]
    fn named_zooms_are_their_own_nearest() {
        for zoom in Zoom::ALL {
            assert_eq!(Zoom::nearest(TimeScale::new(origin(), zoom.pixels_per_day())), zoom);
        }
    }

    #[test]
    fn a_fitting_scale_shows_the_whole_time() {
        let to = Moment::from_civil(2026, 6, 5, 0, 0);
        let scale = TimeScale::fitting(origin(), origin(), to, 800.0);
        assert!((scale.x(to) - 800.0).abs() < 1.0);
    }

    #[test]
    fn dates_snap_to_days_unless_hours_are_visible() {
        assert_eq!(TimeScale::new(origin(), 11.0).snap(), Span::hours(24));
        assert_eq!(TimeScale::new(origin(), 960.0).snap(), Span::minutes(15));
    }
}
