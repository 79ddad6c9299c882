package conf

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/magiconair/properties"
)

// parseProperties reads a Java properties file, one logical line at a time so that each setting
// knows its line. A later line wins over an earlier one.
func parseProperties(name string, data []byte) ([]Setting, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	var out []Setting
	for i := 0; i < len(lines); i++ {
		first, logical := i, lines[i]
		if !isComment(logical) {
			for continues(lines[i]) && i+1 < len(lines) {
				i++
				logical += "\n" + lines[i]
			}
		}
		p, err := loader.LoadBytes([]byte(logical))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, first+1, err)
		}
		for _, key := range p.Keys() {
			value, _ := p.Get(key)
			out = append(out, Setting{Name: key, Value: value, Origin: Origin{FromFile, name, first + 1}})
		}
	}
	return out, nil
}

func isComment(line string) bool {
	t := strings.TrimLeft(line, " \t\f")
	return strings.HasPrefix(t, "#") || strings.HasPrefix(t, "!")
}

// continues reports whether the line ends in an odd number of backslashes.
func continues(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// maxYAMLDepth bounds how deep maps may nest; Kafka's longest key has nine parts.
const maxYAMLDepth = 16

// parseYAML reads a YAML file whose maps may nest at any dot of a key. Sequences become lists.
func parseYAML(name string, data []byte) ([]Setting, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	w := yamlWalker{file: name}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if err := w.walk("", doc.Body, 0); err != nil {
			return nil, err
		}
	}
	return w.out, nil
}

type yamlWalker struct {
	file string
	out  []Setting
}

func (w *yamlWalker) walk(prefix string, node ast.Node, depth int) error {
	line := node.GetToken().Position.Line
	if depth > maxYAMLDepth {
		return fmt.Errorf("%s:%d: nested deeper than %d maps", w.file, line, maxYAMLDepth)
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := w.walkEntry(prefix, v, depth); err != nil {
				return err
			}
		}
		return nil
	case *ast.MappingValueNode:
		return w.walkEntry(prefix, n, depth)
	case *ast.CommentGroupNode:
		return nil
	}
	if prefix == "" {
		return fmt.Errorf("%s:%d: want a map of config keys", w.file, line)
	}
	value, err := w.scalar(node)
	if err != nil {
		return err
	}
	w.out = append(w.out, Setting{prefix, value, Origin{FromFile, w.file, line}, true})
	return nil
}

func (w *yamlWalker) walkEntry(prefix string, v *ast.MappingValueNode, depth int) error {
	key := v.Key.GetToken().Value
	if prefix != "" {
		key = prefix + "." + key
	}
	return w.walk(key, v.Value, depth+1)
}

// scalar is a single value, or a sequence of them joined by commas.
func (w *yamlWalker) scalar(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.NullNode:
		return "", nil
	case *ast.SequenceNode:
		parts := make([]string, len(n.Values))
		for i, v := range n.Values {
			s, err := w.scalar(v)
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, nil
	}
	pos := node.GetToken().Position
	return "", fmt.Errorf("%s:%d: %s is neither a value nor a list of values", w.file, pos.Line, node.Type())
}
