// Package archtest holds the rules of the house that a test can read: which floor may import which,
// that every package says what it is, and that the repository has the files it promises.
//
// It owns the table of floors and no code. It must not know what any package does. One goroutine;
// nothing is written.
package archtest
