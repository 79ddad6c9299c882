package conf

import (
	"math"
	"strconv"
	"strings"
)

// Value is a parsed value. Which field holds it follows from the key's type.
type Value struct {
	typ   Type
	str   string // String, Class, Password
	num   int64  // Int, Short, Long
	float float64
	yes   bool
	list  []string
}

// ruleError says which rule a value broke; Error gives it the key's name and the value.
type ruleError string

func (e ruleError) Error() string { return string(e) }

// parseValue reads text as a value of type t, as Kafka's ConfigDef does: blanks around it do not
// count, an empty text is an empty list.
func parseValue(t Type, text string) (Value, error) {
	v := Value{typ: t}
	text = strings.TrimSpace(text)
	var err error
	switch t {
	case Boolean:
		switch {
		case strings.EqualFold(text, "true"):
			v.yes = true
		case !strings.EqualFold(text, "false"):
			return v, ruleError("Expected value to be either true or false")
		}
	case Int:
		v.num, err = strconv.ParseInt(text, 10, 32)
	case Short:
		v.num, err = strconv.ParseInt(text, 10, 16)
	case Long:
		v.num, err = strconv.ParseInt(text, 10, 64)
	case Double:
		v.float, err = strconv.ParseFloat(text, 64)
	case List:
		v.list = splitList(text)
	default:
		v.str = text
	}
	if err != nil {
		return v, ruleError("Not a number of type " + strings.ToUpper(t.String()))
	}
	return v, nil
}

// splitList cuts at commas; an empty text has no elements.
func splitList(text string) []string {
	if text == "" {
		return []string{}
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// String is the value as DescribeConfigs shows it.
func (v Value) String() string {
	switch v.typ {
	case Boolean:
		return strconv.FormatBool(v.yes)
	case Int, Short, Long:
		return strconv.FormatInt(v.num, 10)
	case Double:
		return javaDouble(v.float)
	case List:
		return strings.Join(v.list, ",")
	default:
		return v.str
	}
}

// javaDouble writes a number as Java's Double.toString does, which is what Kafka shows.
func javaDouble(f float64) string {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return strings.Replace(strconv.FormatFloat(f, 'f', -1, 64), "Inf", "Infinity", 1)
	case abs == 0 || abs >= 1e-3 && abs < 1e7:
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent) // written by FormatFloat
	return mantissa + "E" + strconv.Itoa(n)
}

// parse reads and checks text as a value of the key.
func (k *Key) parse(text string) (Value, error) {
	v, err := parseValue(k.Type, text)
	if err == nil && k.check.fn != nil {
		err = k.check.fn(v)
	}
	if err != nil {
		return v, &InvalidError{Key: k, Value: text, Rule: err.Error()}
	}
	return v, nil
}

// Parse reads and checks text as a value of the key and returns the form DescribeConfigs shows.
func (k *Key) Parse(text string) (string, error) {
	v, err := k.parse(text)
	if err != nil {
		return "", err
	}
	return v.String(), nil
}

// InvalidError is a value that its key does not allow.
type InvalidError struct {
	Key   *Key
	Value string
	Rule  string
}

// Error names key, value and rule, in the words of Kafka's own message; a secret is not shown.
func (e *InvalidError) Error() string {
	shown := e.Value
	if e.Key.Sensitive() {
		shown = "***"
	}
	return "Invalid value " + shown + " for configuration " + e.Key.Name + ": " + e.Rule
}
