//! `logweir spool replay`: sends lines of a spool again, as fast as they can be read.
