"""Call functions and classes that are written in another form than the tasks', as a submission declares.

The grader sends this file's text to the submission's sandbox, with one entry for each task; arrays are converted only
here, at the edge. It therefore imports only the standard library, and NumPy and the framework are handed to it.

The forms are those in docs/grading.md: a function, a pair of functions in the style of cs231n (Stanford's course, whose
forward functions return ``out, cache`` and whose backward functions take ``dout, cache``), and a class with ``forward``
and ``backward``, which may be a torch.nn.Module.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

Function = Callable[..., Any]
Refusal = Callable[[str, str], Exception]  # the worker's exception for a status and a message

# The functions of cs231n by the tasks that they solve. Other pairs are f_forward and f_backward.
CS231N = {
    "conv2d": "conv_forward_naive", "conv2d_backward": "conv_backward_naive",
    "max_pool2d": "max_pool_forward_naive", "max_pool2d_backward": "max_pool_backward_naive",
    "batch_norm": "spatial_batchnorm_forward", "batch_norm_backward": "spatial_batchnorm_backward",
    "normalize": "spatial_batchnorm_forward",
    "softmax_cross_entropy": "softmax_loss", "softmax_cross_entropy_backward": "softmax_loss",
}  # fmt: skip
# Arguments of a module's constructor that give a size, and the letter of its axis in the task.
SIZES = {
    "C": ("channels", "channel", "in_channels", "in_channel", "input_channels", "num_channels", "num_features",
          "in_planes", "inplanes", "planes", "n_channels", "ch", "c", "C", "dim"),
    "R": ("hidden", "hidden_channels", "hidden_dim", "squeeze_channels", "mid_channels", "rd_channels", "bottleneck",
          "R"),
    "r": ("reduction", "reduction_ratio", "ratio", "r"),
}  # fmt: skip


class Adapter:
    """The tasks' functions of a submission.

    ``namespace`` contains the submission's names, ``calls`` one entry for each task, and ``framework`` is the module
    torch, the module jax or None. ``refused(status, message)`` makes the exception for a call that is not possible.
    """

    def __init__(
        self, namespace: Mapping[str, Any], calls: Mapping[str, Any], numpy: Any, framework: Any, refused: Refusal
    ) -> None:
        self.namespace, self.calls, self.numpy, self.refused = namespace, calls, numpy, refused
        self.framework = framework
        self.torch = framework if getattr(framework, "__name__", "") == "torch" else None

    def call(self, task: str, arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Any:
        """Return the result of a task's function, as arrays of NumPy."""
        how = self.calls[task]
        if how["kind"] == "layer":
            return self._back(self._layer(how, arguments, hyper))
        if how["kind"] == "cached":
            return self._back(self._cached(how, arguments, hyper))
        function = self._named(how["function"])
        return self._back(self._apply(how["function"], function, [self._to(a) for a in arguments], hyper))

    # Conversions at the edge.

    def _to(self, value: Any) -> Any:
        """Return an array as the framework's, which shares its memory if possible."""
        if self.framework is None or not isinstance(value, self.numpy.ndarray):
            return value
        return self.torch.from_numpy(value) if self.torch else self.framework.numpy.asarray(value)

    def _back(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(self._back, value)) if type(value) in (tuple, list) else value
        if self.torch and isinstance(value, self.torch.Tensor):
            return value.detach().cpu().numpy()
        if self.framework is not None and not self.torch and isinstance(value, self.framework.Array):
            return self.numpy.asarray(value)
        return value

    def _named(self, name: str) -> Any:
        found = self.namespace.get(name)
        if not callable(found):
            raise self.refused("missing", f"{name} is not defined")
        return found

    def _no(self, message: str) -> NoReturn:
        raise self.refused("error", message)

    def _apply(self, name: str, function: Function, arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Any:
        """Call a function; say what it takes and what it is given if these differ."""
        try:
            inspect.signature(function).bind(*arguments, **hyper)
        except TypeError:
            names = [self._brief(a) for a in arguments] + [f"{key}=" for key in hyper]
            self._no(f"{name}{inspect.signature(function)} is called with ({', '.join(names)}), as declared")
        except ValueError:  # a builtin without a signature
            pass
        return function(*arguments, **hyper)

    def _brief(self, value: Any) -> str:
        shape = getattr(value, "shape", None)
        return f"shape {tuple(shape)}" if shape is not None else repr(value)[:60]

    # Pairs in the style of cs231n.

    def _cached(self, how: Mapping[str, Any], arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Any:
        forward = self._named(how["forward"])
        values = dict(zip(how["inputs"], arguments, strict=True))
        upstream = [values.pop(name) for name in how["upstream"]]
        given, added = self._in_style(how, values, hyper)
        returned = self._apply(how["forward"], forward, [self._to(value) for value in given], {})
        if not (isinstance(returned, tuple | list) and len(returned) == 2):
            count = f"{len(returned)} values" if isinstance(returned, tuple | list) else "1 value"
            what = "loss, dx" if how["forward"] == "softmax_loss" else "out, cache"
            raise self.refused("refused", f"{how['forward']} returned {count}; in the style cs231n it returns {what}")
        if how["forward"] == "softmax_loss":
            return upstream[0] * self._back(returned[1]) if upstream else returned[0]
        if not upstream:
            return self._rows_back(how, returned[0])
        backward = self._named(how["backward"])
        dout = self._rows(how, upstream[0])
        gradients = self._apply(how["backward"], backward, [self._to(dout), returned[1]], {})
        several = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
        if added and len(several) == len(how["outputs"]) + 1:
            del several[-1]  # the gradient of the bias, which the task does not have
        several[0] = self._rows_back(how, several[0])
        return tuple(several) if len(several) > 1 else several[0]

    def _in_style(
        self, how: Mapping[str, Any], values: dict[str, Any], hyper: Mapping[str, Any]
    ) -> tuple[list[Any], bool]:
        """Return the arguments of the forward function, and whether a bias of 0 was added."""
        np, kind = self.numpy, how["parameters"]
        if kind == "conv":
            filters = values["V"].shape[how["filters"]]
            takes_bias = len(inspect.signature(self._named(how["forward"])).parameters) != 3
            bias = [np.zeros(filters, values["V"].dtype)] if takes_bias else []
            return [values["X"], values["V"], *bias, {"stride": hyper["stride"], "pad": hyper["padding"]}], takes_bias
        if kind == "pool":
            k = hyper["kernel"]
            return [values["x"], {"pool_height": k, "pool_width": k, "stride": hyper["stride"]}], False
        if kind == "norm":
            x, gamma = values["x"], values["gamma"]
            settings = {"mode": "test" if how["test"] else "train", "eps": hyper["eps"], "momentum": 0.9}
            if how["test"]:
                settings |= {"running_mean": self._to(values["mean"]), "running_var": self._to(values["var"])}
            beta = values.get("beta", np.zeros_like(gamma))
            return [self._rows(how, x), gamma, beta, settings], False
        return [*values.values(), *hyper.values()], False

    def _rows(self, how: Mapping[str, Any], x: Any) -> Any:
        """Return maps as one row for each pixel, for a batch norm of rows."""
        if not how.get("rows"):
            return x
        self._maps = x.shape
        return self.numpy.moveaxis(x, how["rows"], -1).reshape(-1, x.shape[how["rows"]])

    def _rows_back(self, how: Mapping[str, Any], x: Any) -> Any:
        if not how.get("rows"):
            return x
        x, axis = self._back(x), how["rows"]
        shape = [n for k, n in enumerate(self._maps) if k != axis % 4]
        if getattr(x, "ndim", 0) != 2 or x.size != self.numpy.prod(self._maps):
            return x
        return self.numpy.moveaxis(x.reshape(*shape, x.shape[1]), -1, axis)

    # Classes.

    def _layer(self, how: Mapping[str, Any], arguments: Sequence[Any], hyper: Mapping[str, Any]) -> Any:
        kind = self._named(how["class"])
        values = dict(zip(how["inputs"], arguments, strict=True)) | dict(hyper)
        upstream = [self._to(values.pop(name)) for name in how["upstream"]]
        values = {name: values.get(name) for name in how["forward"] if name in values or name == "beta"}
        if "beta" in values and values["beta"] is None:  # batch norm's gradients do not depend on it
            values["beta"] = self.numpy.zeros_like(values["gamma"])
        if self.torch and isinstance(kind, type) and issubclass(kind, self.torch.nn.Module):
            return self._module(how, kind, values, upstream)
        values = {name: self._to(value) for name, value in values.items()}
        layer, left = self._constructed(how, kind, values)
        own = self._forward_arguments(how, layer.forward, left, layer)
        out = layer.forward(*own[0].values(), **own[1])
        if not upstream:
            return out
        if not callable(getattr(layer, "backward", None)):
            raise self.refused("missing", f"{how['class']} has no method backward")
        gradients = self._apply(f"{how['class']}.backward", layer.backward, upstream, {})
        return self._gradients(how, layer, gradients, [*own[0], *own[1]])

    def _constructed(self, how: Mapping[str, Any], kind: Any, values: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return a layer, and the values that its constructor did not take."""
        taken = {}
        for name, parameter in _parameters(kind).items():
            if name in values:
                taken[name] = values[name]
            elif parameter.default is parameter.empty:
                self._no(f"the constructor of {how['class']} takes {name}, which is not an argument of {how['task']} "
                         f"({', '.join(how['forward'])}); give it one of these names or a default")  # fmt: skip
        layer = kind(**taken)
        if not callable(getattr(layer, "forward", None)):
            raise self.refused("missing", f"{how['class']} has no method forward")
        return layer, {name: value for name, value in values.items() if name not in taken}

    def _forward_arguments(
        self, how: Mapping[str, Any], forward: Function, left: dict[str, Any], layer: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the positional and the keyword arguments of ``forward``; the others become attributes."""
        parameters = _parameters(forward)
        optional = {n for n, p in parameters.items() if p.default is not p.empty or p.kind is p.KEYWORD_ONLY}
        keywords = {n: left[n] for n in parameters if n in left and (n in optional or n in how["hyper"])}
        names = [n for n in left if n not in keywords]
        required = [n for n in parameters if n not in optional and n not in keywords]
        by_name = set(required) <= set(names)
        first = required if by_name else [n for n in names if n not in how["hyper"]][: len(required)]
        if len(first) < len(required):
            self._no(f"{how['class']}.forward takes {', '.join(required)}; expected at most {', '.join(names)}")
        for name in names:
            if name not in first:
                if not hasattr(layer, name):
                    self._no(f"{how['class']} does not take {name}; expected it as an argument of forward or of the "
                             f"constructor, or an attribute {name} to set")  # fmt: skip
                setattr(layer, name, left[name])
        return {name: left[name] for name in first}, keywords

    def _gradients(self, how: Mapping[str, Any], layer: Any, returned: Any, own: Sequence[str]) -> Any:
        """Return all gradients: those that ``backward`` returned, and the others from attributes such as dW1."""
        several = list(returned) if isinstance(returned, tuple | list) else [returned]
        outputs = how["outputs"]
        first = [name for name in outputs if name.removeprefix("d") in own]
        rest = [name for name in outputs if name not in first]
        if len(several) == len(outputs) or len(several) != len(first):
            return returned
        for name in rest:
            if getattr(layer, name, None) is None:
                self._no(f"{how['class']}.backward returned {', '.join(first)} alone; expected {', '.join(outputs)}, "
                         f"or the others as attributes {', '.join(rest)}")  # fmt: skip
        found = dict(zip(first, several, strict=True)) | {name: getattr(layer, name) for name in rest}
        return tuple(found[name] for name in outputs)

    # Modules of PyTorch.

    def _module(self, how: Mapping[str, Any], kind: Any, values: dict[str, Any], upstream: Sequence[Any]) -> Any:
        """Return a module's result, or its gradients through its own autograd."""
        torch = self.torch
        assert torch is not None
        sizes: dict[str, int] = {}
        for name, axes in how["axes"].items():
            if name in values and values[name] is not None:
                sizes |= dict(zip(axes, values[name].shape, strict=True))
        module = kind(**self._sizes(how, kind, sizes, values))
        own, weights = self._split(how, module, values)
        module.to(next((torch.from_numpy(v).dtype for v in own.values() if v.dtype.kind == "f"), torch.float64))
        placed = self._set(how, module, weights, sizes)
        inputs = {name: self._to(value) for name, value in own.items()}
        if not upstream:
            with torch.no_grad():
                return module(*inputs.values())
        for name, value in inputs.items():
            if value.is_floating_point():
                inputs[name] = value.clone().requires_grad_()
        out = module(*inputs.values())
        out.backward(torch.as_tensor(upstream[0], dtype=out.dtype))
        leaves = inputs | placed
        found = []
        for output in how["outputs"]:
            leaf = leaves[output.removeprefix("d")]
            gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            shape = weights[output.removeprefix("d")].shape if output.removeprefix("d") in weights else leaf.shape
            found.append(gradient.reshape(tuple(shape)))
        return tuple(found) if len(found) > 1 else found[0]

    def _sizes(
        self, how: Mapping[str, Any], kind: Any, sizes: Mapping[str, int], values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the constructor's arguments: sizes of the task's arrays, by the names in SIZES."""
        known = {name: letter for letter, names in SIZES.items() for name in names}
        taken = {}
        for name, parameter in _parameters(kind).items():
            letter = known.get(name, "")
            if letter == "r" and "R" in sizes:
                taken[name] = max(1, sizes["C"] // sizes["R"])
            elif letter in sizes:
                taken[name] = sizes[letter]
            elif name in how["hyper"]:
                taken[name] = values[name]
            elif parameter.default is parameter.empty:
                names = ", ".join(SIZES["C"][:2] + SIZES["R"][:1] + SIZES["r"][:1])
                self._no(f"the constructor of {how['class']} takes {name}, whose value is not known; expected names of "
                         f"sizes, such as {names}, or a default")  # fmt: skip
        return taken

    def _split(self, how: Mapping[str, Any], module: Any, values: dict[str, Any]) -> tuple[dict, dict]:
        """Return the arguments of ``forward``, and the others, which are the module's parameters."""
        required = [p for p in _parameters(module.forward).values() if p.default is p.empty]
        names = [n for n in values if n not in how["hyper"]]
        if not 1 <= len(required) <= len(names):
            self._no(f"{how['class']}.forward takes {len(required)} arguments; expected 1 to {len(names)} of "
                     f"{', '.join(names)}")  # fmt: skip
        return ({n: values[n] for n in names[: len(required)]}, {n: values[n] for n in names[len(required) :]})

    def _set(
        self, how: Mapping[str, Any], module: Any, weights: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> dict[str, Any]:
        """Set the module's parameters, in the order of registration, and return them by the task's names.

        A parameter must have the axes of the task's array, possibly followed by axes of size 1, as in a 1x1
        convolution; biases that the task does not have become 0.
        """
        torch = self.torch
        assert torch is not None
        waiting, placed = list(weights), {}
        free: dict[str, int] = {}
        for name, parameter in module.named_parameters():
            shape = _without_ones(tuple(parameter.shape), len(how["axes"][waiting[0]]) if waiting else 1)
            if waiting and _fits(shape, how["axes"][waiting[0]], sizes, free):
                array = torch.from_numpy(weights[waiting[0]]).clone()
                trailing = (1,) * (parameter.dim() - array.dim())
                parameter.data = array.reshape(*array.shape, *trailing)
                placed[waiting.pop(0)] = parameter
                last = array.shape[0]
            elif name.rpartition(".")[2] == "bias" and parameter.dim() == 1 and placed:
                parameter.data = torch.zeros(last, dtype=parameter.dtype)
            else:
                wanted = f"{waiting[0]} ({', '.join(how['axes'][waiting[0]])})" if waiting else "no further one"
                self._no(f"{how['class']}: the parameter {name} has the shape {tuple(parameter.shape)}; expected "
                         f"{wanted}; parameters are set in the order in which __init__ assigns the layers")  # fmt: skip
        if waiting:
            self._no(f"{how['class']} has no parameter for {', '.join(waiting)}")
        return placed


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a bound method or a constructor, without *args and **kwargs."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: p for name, p in found.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _without_ones(shape: tuple[int, ...], least: int) -> tuple[int, ...]:
    while len(shape) > least and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _fits(shape: tuple[int, ...], axes: Sequence[str], sizes: Mapping[str, int], free: dict[str, int]) -> bool:
    """Return True if a parameter has these axes; hidden units R may be any number, but always the same."""
    if len(shape) != len(axes):
        return False
    known = {**sizes, "R": free.get("R", 0)}
    for n, letter in zip(shape, axes, strict=True):
        if letter == "R" and not known["R"]:
            known["R"] = n
        elif n != known.get(letter, n):
            return False
    if "R" in axes:
        free["R"] = known["R"]
    return True
