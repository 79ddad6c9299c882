package local

import "fmt"

// Report counts checks and prints a line for each. What failed stands at the end once more: of a long run often only
// the end is kept.
type Report struct {
	passed, notRun int
	failures       []string
}

// Check prints one check; a nil error is a pass.
func (r *Report) Check(name string, err error) {
	if err == nil {
		r.passed++
		fmt.Printf("PASS  %s\n", name)
		return
	}
	r.failures = append(r.failures, fmt.Sprintf("%s: %v", name, err))
	fmt.Printf("FAIL  %s: %v\n", name, err)
}

// That is Check of a condition; the text says what was found, and stands behind a pass as well.
func (r *Report) That(name string, ok bool, format string, args ...any) {
	found := fmt.Sprintf(format, args...)
	if ok {
		r.Check(name+" ("+found+")", nil)
		return
	}
	r.Check(name, fmt.Errorf("%s", found))
}

// NotRun prints a check that could not be made.
func (r *Report) NotRun(name, why string) {
	r.notRun++
	fmt.Printf("NOT RUN  %s: %s\n", name, why)
}

// Note prints a line that is no check.
func (r *Report) Note(format string, args ...any) { fmt.Printf("      "+format+"\n", args...) }

// Close prints the closing line and returns the exit code: 0 only when nothing failed.
func (r *Report) Close() int {
	for _, f := range r.failures {
		fmt.Printf("FAILED  %s\n", f)
	}
	if r.notRun > 0 {
		fmt.Printf("%d passed, %d failed, %d not run\n", r.passed, len(r.failures), r.notRun)
	} else {
		fmt.Printf("%d passed, %d failed\n", r.passed, len(r.failures))
	}
	if len(r.failures) > 0 {
		return 1
	}
	return 0
}
