//! Files that commands read, and what they report of lines that cannot be read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::digest;

use super::operation::OperationError;
use super::suppress::private_file;
use crate::hex;
use crate::store::record::csv_line;

/// How many bad rows are shown when no file for them is given.
pub(super) const SHOWN_MAX: u64 = 20;
/// How much of a bad row's address, and of the name of its file in an archive, is repeated in its report, in characters.
const QUOTED_MAX: usize = 254;
/// How a ZIP archive begins (Mailchimp exports one).
const ZIP_MARK: &[u8] = b"PK\x03\x04";
/// Files in an archive; Mailchimp's has three.
const MEMBERS_MAX: usize = 100;

/// Reads one file, or one of an archive under its name there.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Option<&str>, &mut dyn BufRead) -> Result<(), OperationError>;

/// Reads `path` (`-`: the standard input), or each `.csv` of it when it is a ZIP archive. Nothing is unpacked to disk or as a
/// whole into memory.
///
/// `read` is told the name of a file in an archive. `octets` tells how many octets of the file were read so far.
///
/// # Errors
/// [`OperationError`] of the file, or what `read` answers.
pub(super) fn each_file(path: &Path, octets: &Cell<u64>, read: Visit<'_>) -> Result<(), OperationError> {
    if path == Path::new("-") {
        return read(None, &mut io::stdin().lock());
    }
    let failed = OperationError::file(path);
    let mut file = File::open(path).map_err(&failed)?;
    let mut mark = Vec::with_capacity(ZIP_MARK.len());
    (&mut file).take(4).read_to_end(&mut mark).map_err(&failed)?;
    file.rewind().map_err(&failed)?;
    let file = Counted { file, octets };
    if mark != ZIP_MARK {
        return read(None, &mut BufReader::new(file));
    }
    let broken = |error: zip::result::ZipError| OperationError::Format(format!("{}: {error}", path.display()));
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > MEMBERS_MAX {
        return Err(OperationError::Format(format!("{}: more than {MEMBERS_MAX} files in it", path.display())));
    }
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(broken)?;
        let name = member.name().map_err(broken)?.into_owned();
        if name.to_ascii_lowercase().ends_with(".csv") {
            read(Some(&name), &mut BufReader::new(member))?;
        }
    }
    Ok(())
}

/// A file, and how much of it was read.
struct Counted<'a> {
    file: File,
    octets: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.octets.set(self.octets.get().saturating_add(u64::try_from(count).unwrap_or(0)));
        Ok(count)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Size and SHA-256 of a file's content; nothing for the standard input (`-`).
///
/// # Errors
/// [`OperationError::File`].
pub(super) fn size_and_digest(path: &Path) -> Result<Option<(u64, String)>, OperationError> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let failed = OperationError::file(path);
    let mut file = BufReader::new(File::open(path).map_err(&failed)?);
    let (mut size, mut context) = (0, digest::Context::new(&digest::SHA256));
    loop {
        let octets = file.fill_buf().map_err(&failed)?;
        if octets.is_empty() {
            return Ok(Some((size, hex::encode(context.finish().as_ref()))));
        }
        context.update(octets);
        let count = octets.len();
        size += u64::try_from(count).unwrap_or(0);
        file.consume(count);
    }
}

/// Where bad rows are written: the file that the operator names, with a header line, or nowhere.
///
/// # Errors
/// [`OperationError::File`].
pub(super) fn report_file(path: Option<&Path>) -> Result<Box<dyn Write>, OperationError> {
    let Some(path) = path else { return Ok(Box::new(io::sink())) };
    let failed = OperationError::file(path);
    let mut file = BufWriter::new(private_file(path).map_err(&failed)?);
    csv_line(["line", "email", "level", "message"], &mut file).map_err(&failed)?;
    Ok(Box::new(file))
}

/// Bad rows, as CSV for a file and as sentences for a person.
pub(super) struct Report<'a> {
    /// Goes before each message: lines are counted in each file of an archive by itself.
    of: String,
    file: &'a mut dyn Write,
    person: Option<&'a mut dyn Write>,
    count: u64,
}

impl<'a> Report<'a> {
    /// Of the rows of one file, or of one in an archive: then each message names it. A person is shown the first rows only.
    pub(super) fn new(member: Option<&str>, file: &'a mut dyn Write, person: Option<&'a mut dyn Write>) -> Self {
        let of = member.map(|name| format!("{}: ", quoted(name))).unwrap_or_default();
        Self { of, file, person, count: 0 }
    }

    /// Reports one row.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn bad(&mut self, number: u64, who: &str, why: &str) -> io::Result<()> {
        self.count += 1;
        let message = format!("{}{why}", self.of);
        csv_line([number.to_string().as_str(), &quoted(who), "error", &message], self.file)?;
        match &mut self.person {
            Some(out) if self.count <= SHOWN_MAX => writeln!(out, "line {number}: {message}"),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes out what is waiting.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a stranger wrote, as one line that is not too long.
fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
