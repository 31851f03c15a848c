// Package relayops is what the operator of a relay needs beside the relay itself: a configuration file, lists of who may and
// who may not use it, metrics and health over HTTP, reloading and draining on signals. It knows relaymesh but no sockets of
// peers; what it operates is a [Node].
//
// The configuration file has one "name value" on a line, with the names of the command's flags, and # begins a comment. It is
// no TOML or YAML because the flags are flat: a format of its own, read in forty lines, cannot mean something else than the
// command line, and brings no dependency.
package relayops
