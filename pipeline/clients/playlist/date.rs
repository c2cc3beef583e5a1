//! EXT-X-PROGRAM-DATE-TIME: ISO 8601 dates ⇄ microseconds since 1970.

/// Reads `YYYY-MM-DDThh:mm:ss[.fff…](Z|±hh[:]mm)`; a date without a zone is
/// refused, since players would take it as their own (bis 4.4.4.6).
#[must_use]
pub fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut fields = date.splitn(3, '-').map(digits);
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let offset_minutes = match zone.as_bytes() {
        b"Z" => 0,
        [sign, ..] => {
            let hours = digits(zone.get(1..3)?)?;
            let minutes = zone.get(3..)?;
            let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
            let total = hours * 60 + if minutes.is_empty() { 0 } else { digits(minutes)? };
            if *sign == b'-' { -total } else { total }
        }
        [] => return None,
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut fields = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (fields.next()??, fields.next()??, fields.next()??);
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros = digits(&format!("{fraction:0<6}")[..6])?;
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1_000_000 + micros)
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Days since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Writes microseconds since 1970 as a date in UTC, to the millisecond.
#[must_use]
pub fn format_date(us: i64) -> String {
    let ms = us.div_euclid(1000);
    let day_ms = ms.rem_euclid(86_400_000);
    let shifted = ms.div_euclid(86_400_000) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        day_ms / 3_600_000,
        day_ms / 60_000 % 60,
        day_ms / 1000 % 60,
        day_ms % 1000
    )
}
