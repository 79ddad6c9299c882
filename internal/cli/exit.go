package cli

// Exit codes, the same for every command. They are part of the interface: scripts read them.
const (
	exitOK          = 0
	exitFailed      = 1 // the operation was tried and failed
	exitUsage       = 2 // the command line itself is wrong
	exitNotFound    = 3 // a named thing does not exist
	exitDenied      = 4 // not authorised, or not authenticated
	exitUnreachable = 5 // no connection, or no answer in time
	exitConflict    = 6 // it exists already, or is in use
	exitPartly      = 7 // some items worked and some failed
	exitInterrupted = 130
)
