package cli

type note struct{ Cause, Try string }

var explanations = map[int16]note{}
