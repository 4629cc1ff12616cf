//! Marks: against other people's code, against cases done by hand, and through the command.

mod command;
mod exam;
mod marks;
