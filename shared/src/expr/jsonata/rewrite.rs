//! Puts the checks of [`super::guards`] into a parsed expression.
//!
//! The engine stops an evaluation between two steps. A value that one step makes could still be of
//! any size, and values that share their parts could be cheap to make and endless to walk.
//! So every value is weighed before it goes into an object, an array, or a function of the language,
//! unless it plainly comes from the input; and the few operations that make more than they are
//! given (`&`, `$string`, `$join`, `$replace`, `$pad`, ranges) are bounded themselves. What
//! the expression's own functions are given needs no check, since they are made of such steps.
//!
//! For records with numbers that need care (`exact`) it also puts [`guards::DOUBLE`] around every
//! value that is computed with, so that a marker only gets where values are carried over.
//!
//! Steps of paths keep their kind, because the engine's treatment of a step depends on it.

use std::collections::{BTreeMap, HashSet};

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage, StepId, UnaryOp};
use jsonata_core::value::with_stack;

use super::fault::Refused;
use super::functions::{self, added};
use super::guards::{self, Function, GUARDS};
use crate::fault::suggestion;

/// An expression as the engine runs it.
pub(super) struct Program {
    pub root: AstNode,
    /// The functions that it calls beside the engine's own.
    pub functions: Vec<(&'static str, Function)>,
}

/// The engine's functions, but `$eval`. (`$random` it has in name only.)
const BUILTINS: [&str; 63] = [
    "abs",
    "append",
    "assert",
    "average",
    "base64decode",
    "base64encode",
    "boolean",
    "ceil",
    "contains",
    "count",
    "decodeUrl",
    "decodeUrlComponent",
    "distinct",
    "each",
    "encodeUrl",
    "encodeUrlComponent",
    "error",
    "exists",
    "filter",
    "floor",
    "formatBase",
    "formatInteger",
    "formatNumber",
    "fromMillis",
    "join",
    "keys",
    "length",
    "lookup",
    "lowercase",
    "map",
    "match",
    "max",
    "merge",
    "millis",
    "min",
    "not",
    "now",
    "number",
    "pad",
    "parseInteger",
    "power",
    "reduce",
    "replace",
    "reverse",
    "round",
    "shuffle",
    "sift",
    "single",
    "sort",
    "split",
    "spread",
    "sqrt",
    "string",
    "substring",
    "substringAfter",
    "substringBefore",
    "sum",
    "toMillis",
    "trim",
    "type",
    "uppercase",
    "zip",
    "eval",
];

/// Functions whose arguments only pass through, or are looked at: markers may stay in them.
const CARRYING: [&str; 18] = [
    "append", "count", "each", "exists", "filter", "keys", "lookup", "map", "merge", "reduce",
    "reverse", "shuffle", "sift", "single", "sort", "spread", "zip", "distinct",
];

/// Functions that give a scalar of bounded size, whatever they are given.
const SCALAR: [&str; 21] = [
    "abs",
    "average",
    "boolean",
    "ceil",
    "contains",
    "count",
    "exists",
    "floor",
    "formatBase",
    "length",
    "max",
    "millis",
    "min",
    "not",
    "number",
    "power",
    "round",
    "sqrt",
    "sum",
    "type",
    "toMillis",
];

/// Functions of one argument that may be handed on by name, and that don't carry markers.
const BY_NAME: [&str; 15] = [
    "abs", "average", "boolean", "ceil", "floor", "max", "min", "not", "number", "round", "sqrt",
    "string", "sum", "type", "distinct",
];

/// Functions that take the context when they are called without an argument.
const OF_CONTEXT: [&str; 20] = [
    "abs",
    "boolean",
    "ceil",
    "floor",
    "formatBase",
    "not",
    "number",
    "round",
    "sqrt",
    "string",
    "length",
    "lowercase",
    "uppercase",
    "trim",
    "keys",
    "spread",
    "base64encode",
    "base64decode",
    "encodeUrl",
    "decodeUrl",
];

/// `parsed` with its checks; with `exact`, for input that holds markers.
pub(super) fn program(parsed: &AstNode, exact: bool) -> Result<Program, Refused> {
    let mut rewriter = Rewriter {
        exact,
        scopes: vec![HashSet::new()],
        bound_anywhere: HashSet::new(),
        derived: false,
        functions: BTreeMap::new(),
        refused: None,
    };
    collect_bound(parsed, &mut rewriter.bound_anywhere);
    let root = rewriter.node(parsed);
    match rewriter.refused {
        Some(refused) => Err(refused),
        None => Ok(Program {
            root,
            functions: rewriter.functions.into_iter().collect(),
        }),
    }
}

struct Rewriter {
    exact: bool,
    /// The variables that are bound here, innermost scope last.
    scopes: Vec<HashSet<String>>,
    /// The variables that are bound somewhere in the expression.
    bound_anywhere: HashSet<String>,
    /// Whether the context was made by the expression, and so may be larger than the input.
    derived: bool,
    functions: BTreeMap<&'static str, Function>,
    refused: Option<Refused>,
}

impl Rewriter {
    fn node(&mut self, node: &AstNode) -> AstNode {
        with_stack(|| self.node_here(node))
    }

    fn nodes(&mut self, nodes: &[AstNode]) -> Vec<AstNode> {
        nodes.iter().map(|node| self.node(node)).collect()
    }

    fn boxed(&mut self, node: &AstNode) -> Box<AstNode> {
        Box::new(self.node(node))
    }

    fn node_here(&mut self, node: &AstNode) -> AstNode {
        match node {
            AstNode::String(_)
            | AstNode::Name(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::ParentVariable(_)
            | AstNode::Wildcard
            | AstNode::Descendant
            | AstNode::Parent(_) => node.clone(),
            AstNode::Variable(name) => self.variable(name),
            AstNode::Path { steps } => self.path(steps),
            AstNode::Binary { op, lhs, rhs } => self.binary(*op, lhs, rhs),
            AstNode::Unary { op, operand } => AstNode::Unary {
                op: *op,
                operand: Box::new(match op {
                    UnaryOp::Negate => self.number(operand),
                    UnaryOp::Not => self.node(operand),
                }),
            },
            AstNode::Function {
                name,
                args,
                is_builtin,
            } => self.function(name, args, *is_builtin),
            AstNode::Call { procedure, args } => AstNode::Call {
                procedure: self.boxed(procedure),
                args: self.nodes(args),
            },
            AstNode::Lambda {
                params,
                body,
                signature,
                thunk,
            } => {
                self.scopes.push(params.iter().cloned().collect());
                let body = self.boxed(body);
                self.scopes.pop();
                AstNode::Lambda {
                    params: params.clone(),
                    body,
                    signature: signature.clone(),
                    thunk: *thunk,
                }
            }
            AstNode::Array(items) => {
                AstNode::Array(items.iter().map(|item| self.part(item)).collect())
            }
            AstNode::ArrayGroup(items) => {
                AstNode::ArrayGroup(items.iter().map(|item| self.part(item)).collect())
            }
            AstNode::Object(fields) => AstNode::Object(self.fields(fields)),
            AstNode::ObjectTransform { input, pattern } => AstNode::ObjectTransform {
                input: self.boxed(input),
                pattern: self.fields(pattern),
            },
            AstNode::Block(nodes) => {
                self.scopes.push(HashSet::new());
                let nodes = self.nodes(nodes);
                self.scopes.pop();
                AstNode::Block(nodes)
            }
            AstNode::Conditional {
                condition,
                then_branch,
                else_branch,
            } => AstNode::Conditional {
                condition: self.boxed(condition),
                then_branch: self.boxed(then_branch),
                else_branch: else_branch.as_ref().map(|branch| self.boxed(branch)),
            },
            AstNode::FunctionApplication(inner) => AstNode::FunctionApplication(self.boxed(inner)),
            AstNode::Sort { input, terms } => AstNode::Sort {
                input: self.boxed(input),
                terms: terms
                    .iter()
                    .map(|(term, ascending)| (self.number(term), *ascending))
                    .collect(),
            },
            AstNode::Transform {
                location,
                update,
                delete,
            } => AstNode::Transform {
                location: self.boxed(location),
                update: self.boxed(update),
                delete: delete.as_ref().map(|delete| self.boxed(delete)),
            },
        }
    }

    fn bind(&mut self, name: &str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned());
        }
    }

    fn is_bound(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    /// A call of a guard.
    fn guard(&mut self, name: &'static str, args: Vec<AstNode>) -> AstNode {
        if let Some((name, function)) = GUARDS.iter().find(|(known, _)| *known == name) {
            self.functions.insert(name, *function);
        }
        AstNode::Function {
            name: name.to_owned(),
            args,
            is_builtin: true,
        }
    }

    /// `node` where a number is computed with.
    fn number(&mut self, node: &AstNode) -> AstNode {
        let rewritten = self.node(node);
        self.as_double(rewritten)
    }

    fn as_double(&mut self, node: AstNode) -> AstNode {
        if self.exact && !is_literal(&node) {
            self.guard(guards::DOUBLE, vec![node])
        } else {
            node
        }
    }

    /// `node` where it becomes part of a larger value.
    fn part(&mut self, node: &AstNode) -> AstNode {
        let small = self.is_small(node);
        let rewritten = self.node(node);
        if small {
            rewritten
        } else {
            self.guard(guards::WEIGH, vec![rewritten])
        }
    }

    fn fields(&mut self, fields: &[(AstNode, AstNode)]) -> Vec<(AstNode, AstNode)> {
        fields
            .iter()
            .map(|(key, field)| (self.number(key), self.part(field)))
            .collect()
    }

    /// Whether what `node` gives needs no check: it is bounded, checked, or of the input.
    fn is_small(&self, node: &AstNode) -> bool {
        match node {
            AstNode::Name(_) => !self.derived,
            AstNode::Path { steps } => {
                !self.derived
                    && steps.iter().all(|step| {
                        matches!(step.node, AstNode::Name(_))
                            && step.focus.is_none()
                            && step.index_var.is_none()
                    })
            }
            AstNode::Binary { op, .. } => !matches!(
                op,
                BinaryOp::ColonEqual
                    | BinaryOp::ChainPipe
                    | BinaryOp::Coalesce
                    | BinaryOp::Default
                    | BinaryOp::FocusBind
                    | BinaryOp::IndexBind
            ),
            AstNode::Unary { .. }
            | AstNode::Lambda { .. }
            | AstNode::Transform { .. }
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            // Their own parts are checked.
            | AstNode::Array(_)
            | AstNode::Object(_) => true,
            AstNode::Function {
                name, is_builtin, ..
            } => {
                *is_builtin
                    && !self.is_bound(name)
                    && (SCALAR.contains(&name.as_str()) || matches!(name.as_str(), "string" | "join"))
            }
            other => is_literal(other),
        }
    }

    fn variable(&mut self, name: &str) -> AstNode {
        if name.is_empty() || self.is_bound(name) || self.bound_anywhere.contains(name) {
            return AstNode::Variable(name.to_owned());
        }
        if name == "eval" {
            self.refuse(name);
        }
        // A function handed on by name: one of its own, that knows markers.
        if self.exact && BY_NAME.contains(&name) {
            const PARAMETER: &str = "value";
            self.scopes.push(HashSet::from([PARAMETER.to_owned()]));
            let body = self.builtin(name, &[AstNode::variable(PARAMETER)]);
            self.scopes.pop();
            return AstNode::Lambda {
                params: vec![PARAMETER.to_owned()],
                body: Box::new(body),
                signature: None,
                thunk: false,
            };
        }
        if let Some((name, function)) = added(name) {
            self.functions.insert(name, function);
        }
        AstNode::Variable(name.to_owned())
    }

    fn path(&mut self, steps: &[PathStep]) -> AstNode {
        let outside = self.derived;
        let steps = steps
            .iter()
            .map(|step| {
                let node = self.node(&step.node);
                self.derived |= !matches!(
                    step.node,
                    AstNode::Name(_) | AstNode::Wildcard | AstNode::Parent(_)
                );
                for name in [&step.focus, &step.index_var].into_iter().flatten() {
                    self.bind(name);
                }
                let stages = step
                    .stages
                    .iter()
                    .map(|stage| match stage {
                        Stage::Filter(filter) => Stage::Filter(Box::new(self.filter(filter))),
                        other => other.clone(),
                    })
                    .collect();
                PathStep {
                    node,
                    stages,
                    id: StepId::default(),
                    ..step.clone()
                }
            })
            .collect();
        self.derived = outside;
        AstNode::Path { steps }
    }

    /// A filter, whose result may be a position.
    fn filter(&mut self, filter: &AstNode) -> AstNode {
        match filter {
            AstNode::Name(_)
            | AstNode::Path { .. }
            | AstNode::Variable(_)
            | AstNode::Conditional { .. }
            | AstNode::Block(_) => self.number(filter),
            other => self.node(other),
        }
    }

    fn binary(&mut self, op: BinaryOp, lhs: &AstNode, rhs: &AstNode) -> AstNode {
        let (left, right) = match op {
            BinaryOp::Concatenate => {
                let operands = vec![self.node(lhs), self.node(rhs)];
                return self.guard(guards::CONCAT, operands);
            }
            BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In if self.exact => {
                let operands = vec![self.node(lhs), self.node(rhs)];
                let guard = match op {
                    BinaryOp::Equal => guards::EQUAL,
                    BinaryOp::NotEqual => guards::UNEQUAL,
                    _ => guards::MEMBER,
                };
                return self.guard(guard, operands);
            }
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Modulo
            | BinaryOp::LessThan
            | BinaryOp::LessThanOrEqual
            | BinaryOp::GreaterThan
            | BinaryOp::GreaterThanOrEqual => (self.number(lhs), self.number(rhs)),
            BinaryOp::Range => {
                let (left, right) = (self.node(lhs), self.node(rhs));
                (
                    self.guard(guards::COUNTABLE, vec![left]),
                    self.guard(guards::COUNTABLE, vec![right]),
                )
            }
            BinaryOp::ColonEqual => {
                let name = match lhs {
                    AstNode::Variable(name) => Some(name),
                    _ => None,
                };
                // A function may call itself; any other value is made before it has its name.
                let recursive = matches!(rhs, AstNode::Lambda { .. });
                if let (Some(name), true) = (name, recursive) {
                    self.bind(name);
                }
                let right = self.node(rhs);
                if let Some(name) = name {
                    self.bind(name);
                }
                (lhs.clone(), right)
            }
            BinaryOp::ChainPipe => return self.chain(lhs, rhs),
            _ => (self.node(lhs), self.node(rhs)),
        };
        AstNode::Binary {
            op,
            lhs: Box::new(left),
            rhs: Box::new(right),
        }
    }

    /// `lhs ~> rhs`: the call of a function of the language is that call with `lhs` as its first
    /// argument, as the engine has it too.
    fn chain(&mut self, lhs: &AstNode, rhs: &AstNode) -> AstNode {
        let called = |call: &AstNode| match call {
            AstNode::Function {
                name,
                args,
                is_builtin: true,
            } if !args.iter().any(|arg| matches!(arg, AstNode::Placeholder)) => {
                let mut all = vec![lhs.clone()];
                all.extend_from_slice(args);
                Some((name.clone(), all))
            }
            _ => None,
        };
        if let Some((name, args)) = called(rhs) {
            return self.function(&name, &args, true);
        }
        if let AstNode::Path { steps } = rhs
            && let [step] = steps.as_slice()
            && let Some((name, args)) = called(&step.node)
        {
            return self.path(&[PathStep {
                node: AstNode::Function {
                    name,
                    args,
                    is_builtin: true,
                },
                ..step.clone()
            }]);
        }
        AstNode::Binary {
            op: BinaryOp::ChainPipe,
            lhs: self.boxed(lhs),
            rhs: self.boxed(rhs),
        }
    }

    fn function(&mut self, name: &str, args: &[AstNode], is_builtin: bool) -> AstNode {
        if !is_builtin || self.is_bound(name) {
            return AstNode::Function {
                name: name.to_owned(),
                args: self.nodes(args),
                is_builtin,
            };
        }
        if let Some((name, function)) = added(name) {
            self.functions.insert(name, function);
            return AstNode::Function {
                name: name.to_owned(),
                args: args.iter().map(|arg| self.part(arg)).collect(),
                is_builtin,
            };
        }
        if name != "eval" && BUILTINS.contains(&name) {
            return self.builtin(name, args);
        }
        if name == "eval" || !self.bound_anywhere.contains(name) {
            self.refuse(name);
        }
        AstNode::Function {
            name: name.to_owned(),
            args: self.nodes(args),
            is_builtin,
        }
    }

    fn builtin(&mut self, name: &str, args: &[AstNode]) -> AstNode {
        let context = [AstNode::variable("")];
        let args = if args.is_empty() && OF_CONTEXT.contains(&name) {
            &context
        } else {
            args
        };
        match name {
            "string" => return self.guarded(guards::STRING, args),
            "join" if !args.is_empty() => return self.guarded(guards::JOIN, args),
            "distinct" => return self.guarded(guards::DISTINCT, args),
            "base64encode" if args.len() > 1 => {
                return self.guarded_added(functions::BASE64_ENCODE, args);
            }
            "base64decode" if args.len() > 1 => {
                return self.guarded_added(functions::BASE64_DECODE, args);
            }
            "replace" => return self.replace(args),
            _ => {}
        }
        let mut rewritten: Vec<AstNode> = args
            .iter()
            .enumerate()
            .map(|(i, arg)| self.argument(name, i, arg))
            .collect();
        if self.exact && name == "sort" && args.len() == 1 {
            rewritten.push(self.comparator());
        }
        AstNode::Function {
            name: name.to_owned(),
            args: rewritten,
            is_builtin: true,
        }
    }

    fn guarded(&mut self, guard: &'static str, args: &[AstNode]) -> AstNode {
        let args = self.nodes(args);
        self.guard(guard, args)
    }

    fn guarded_added(
        &mut self,
        (name, function): (&'static str, Function),
        args: &[AstNode],
    ) -> AstNode {
        self.functions.insert(name, function);
        AstNode::Function {
            name: name.to_owned(),
            args: args.iter().map(|arg| self.part(arg)).collect(),
            is_builtin: true,
        }
    }

    /// Argument `i` of the engine's function `name`.
    fn argument(&mut self, name: &str, i: usize, arg: &AstNode) -> AstNode {
        let is_function = match name {
            "map" | "filter" | "single" | "reduce" | "each" | "sift" | "sort" => {
                i == 1 || (i == 0 && matches!(arg, AstNode::Lambda { .. }))
            }
            // A pattern, or a function that matches.
            "match" | "contains" | "split" => i == 1,
            _ => false,
        };
        if is_function
            || matches!(
                arg,
                AstNode::Lambda { .. } | AstNode::Placeholder | AstNode::Regex { .. }
            )
        {
            return self.node(arg);
        }
        let guard = match (name, i) {
            ("pad", 1) => Some(guards::WIDTH),
            ("fromMillis" | "toMillis" | "formatInteger" | "parseInteger", 1) | ("now", 0) => {
                Some(guards::PICTURE)
            }
            ("match" | "contains" | "split", 0) => Some(guards::SEARCHED),
            _ => None,
        };
        if let Some(guard) = guard {
            let arg = self.node(arg);
            return self.guard(guard, vec![arg]);
        }
        // The engine looks at what is written here.
        if name == "exists" {
            return self.node(arg);
        }
        if CARRYING.contains(&name) && !(name == "lookup" && i == 1) {
            return self.part(arg);
        }
        if self.exact {
            return self.number(arg);
        }
        if SCALAR.contains(&name) {
            self.node(arg)
        } else {
            self.part(arg)
        }
    }

    fn replace(&mut self, args: &[AstNode]) -> AstNode {
        let mut args = args.to_vec();
        // Without a text it takes the context.
        if args.len() == 2 || (args.len() == 3 && matches!(args[2], AstNode::Number(_))) {
            args.insert(0, AstNode::variable(""));
        }
        let Some(AstNode::Lambda {
            params,
            body,
            signature,
            ..
        }) = args.get(2)
        else {
            return self.guarded(guards::REPLACE, &args);
        };
        self.scopes.push(params.iter().cloned().collect());
        let body = self.node(body);
        self.scopes.pop();
        let replacing = AstNode::Lambda {
            params: params.clone(),
            body: Box::new(self.guard(guards::REPLACEMENT, vec![body])),
            signature: signature.clone(),
            thunk: false,
        };
        let searched = self.node(&args[0]);
        let mut rewritten = vec![
            self.guard(guards::SEARCHED, vec![searched]),
            self.node(&args[1]),
            replacing,
        ];
        rewritten.extend(args[3..].iter().map(|arg| self.number(arg)));
        AstNode::Function {
            name: "replace".to_owned(),
            args: rewritten,
            is_builtin: true,
        }
    }

    /// What `$sort` compares by if it isn't told: as doubles, since markers are no numbers.
    fn comparator(&mut self) -> AstNode {
        let (left, right) = ("left".to_owned(), "right".to_owned());
        let body = AstNode::Binary {
            op: BinaryOp::GreaterThan,
            lhs: Box::new(self.guard(guards::DOUBLE, vec![AstNode::variable("left")])),
            rhs: Box::new(self.guard(guards::DOUBLE, vec![AstNode::variable("right")])),
        };
        AstNode::Lambda {
            params: vec![left, right],
            body: Box::new(body),
            signature: None,
            thunk: false,
        }
    }

    fn refuse(&mut self, name: &str) {
        if self.refused.is_some() {
            return;
        }
        let message = match name {
            "eval" => {
                "`$eval` isn't available, since what it runs can't be checked ahead; found".into()
            }
            "dtFromIso" | "dtFromFormat" => {
                format!("`${name}` isn't available, use `$toMillis` and `$fromMillis`; found")
            }
            _ => {
                let names = BUILTINS.into_iter().filter(|known| *known != "eval");
                let hint = suggestion(name, names.chain(functions::names())).replace(" `", " `$");
                let hint = hint.trim_end_matches('?');
                format!("there is no function `${name}`{hint}; found")
            }
        };
        self.refused = Some(Refused {
            name: name.to_owned(),
            message,
        });
    }
}

fn is_literal(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::String(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
    )
}

/// The variables that `node` binds anywhere.
fn collect_bound(node: &AstNode, names: &mut HashSet<String>) {
    with_stack(|| {
        match node {
            AstNode::Binary {
                op: BinaryOp::ColonEqual,
                lhs,
                ..
            } => {
                if let AstNode::Variable(name) = &**lhs {
                    names.insert(name.clone());
                }
            }
            AstNode::Lambda { params, .. } => names.extend(params.iter().cloned()),
            AstNode::Path { steps } => {
                for step in steps {
                    names.extend(step.focus.iter().chain(&step.index_var).cloned());
                }
            }
            _ => {}
        }
        for child in children(node) {
            collect_bound(child, names);
        }
    });
}

fn children(node: &AstNode) -> Vec<&AstNode> {
    match node {
        AstNode::Path { steps } => steps
            .iter()
            .flat_map(|step| {
                let filters = step.stages.iter().filter_map(|stage| match stage {
                    Stage::Filter(filter) => Some(&**filter),
                    _ => None,
                });
                std::iter::once(&step.node).chain(filters)
            })
            .collect(),
        AstNode::Binary { lhs, rhs, .. } => vec![lhs, rhs],
        AstNode::Unary { operand, .. } => vec![operand],
        AstNode::Function { args, .. } => args.iter().collect(),
        AstNode::Call { procedure, args } => std::iter::once(&**procedure).chain(args).collect(),
        AstNode::Lambda { body, .. } => vec![body],
        AstNode::Array(nodes) | AstNode::ArrayGroup(nodes) | AstNode::Block(nodes) => {
            nodes.iter().collect()
        }
        AstNode::Object(fields) => fields.iter().flat_map(|(k, v)| [k, v]).collect(),
        AstNode::ObjectTransform { input, pattern } => std::iter::once(&**input)
            .chain(pattern.iter().flat_map(|(k, v)| [k, v]))
            .collect(),
        AstNode::Conditional {
            condition,
            then_branch,
            else_branch,
        } => [condition, then_branch]
            .into_iter()
            .chain(else_branch)
            .map(|node| &**node)
            .collect(),
        AstNode::FunctionApplication(inner) => vec![inner],
        AstNode::Sort { input, terms } => std::iter::once(&**input)
            .chain(terms.iter().map(|(term, _)| term))
            .collect(),
        AstNode::Transform {
            location,
            update,
            delete,
        } => [location, update]
            .into_iter()
            .chain(delete)
            .map(|node| &**node)
            .collect(),
        _ => Vec::new(),
    }
}
