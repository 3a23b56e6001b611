"""How steps are written that torch does not know how to write as ONNX, and what is made tidy when all are written."""

from __future__ import annotations

from typing import Any

import torch
from onnxscript import ir, opset18
from onnxscript.ir.passes import common
from onnxscript.optimizer import fold_constants_ir


def steps() -> dict[Any, Any]:
    """What writes each of these steps: a `custom_translation_table` of `torch.onnx.export`."""
    return {
        torch.ops.aten.sort.stable: _sort,
        torch.ops.aten.repeat_interleave.Tensor: _owners,
        torch.ops.aten.where.self: _where,
        torch.ops.aten.scalar_tensor.default: _scalar,
        torch.ops.aten.new_full.default: _new_full,
        torch.ops.aten.clamp.default: _clamp,
    }


def _sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """A stable sort: among equals ONNX takes the lower index first."""
    op: Any = opset18
    count = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
    return op.TopK(x, count, axis=dim, largest=int(descending), sorted=1)


def _owners(counts: Any, output_size: int | None = None) -> Any:
    """Each place as often as its count says: a mark where its entries begin, and how many marks there are so far."""
    op: Any = opset18
    zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    ends = op.CumSum(counts, op.Constant(value_int=0))
    # One more than there are entries: where the last counts are zero, their marks stand behind the end.
    size = op.Add(op.ReduceSum(counts, zero, keepdims=1), one)
    starts = op.Sub(ends, counts)
    marks = op.ScatterElements(op.Expand(zero, size), starts, op.Expand(one, op.Shape(counts)), axis=0, reduction="add")
    return op.Sub(op.Slice(op.CumSum(marks, op.Constant(value_int=0)), zero, op.Constant(value_ints=[-1])), one)


def _where(condition: Any, x: Any, y: Any) -> Any:
    """One or the other; ONNX Runtime does not choose between truths, which logic does."""
    op: Any = opset18
    if x.dtype != ir.DataType.BOOL:
        return op.Where(condition, x, y)
    return op.Or(op.And(condition, x), op.And(op.Not(condition), y))


def _number(value: Any, dtype: int) -> Any:
    """A number in its own precision; torch (2.13) writes all of them in float32, for models in float64 too."""
    op: Any = opset18
    if isinstance(value, ir.Value):
        return op.Cast(value, to=dtype)
    return op.Constant(value=ir.tensor(value, dtype=ir.DataType(dtype)))


def _scalar(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """A number as a tensor of its own, in float32 where nobody says in what."""
    return _number(s, ir.DataType.FLOAT if dtype == -1 else dtype)


def _new_full(
    x: Any, size: Any, fill_value: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False
) -> Any:
    """The same number everywhere, in the precision of x where nobody says in what."""
    op: Any = opset18
    return op.Expand(_number(fill_value, x.dtype if dtype == -1 else dtype), size)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002 - the names that torch gives them
    """No less than one number and no more than another."""
    op: Any = opset18
    low, high = (None if bound is None else _number(bound, x.dtype) for bound in (min, max))
    return op.Identity(x) if low is None and high is None else op.Clip(x, low, high)


def tidied(model: ir.Model) -> None:
    """Constants are folded and what nobody uses is left out, in place; no number is rounded away.

    What torch does by itself (`optimize=True`) takes constants below 1e-8 for zero, with which a frame's guards against
    logarithms of zero are lost (onnxscript 0.7).
    """
    common.InlinePass()(model)
    fold_constants_ir(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    _count_axes_from_the_front(model)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    # Beside each node stands the stack of its call, with folders of this machine.
    common.ClearMetadataAndDocStringPass()(model)


def _count_axes_from_the_front(model: ir.Model) -> None:
    """Axes that reductions count from the back, from the front.

    Of an empty value ONNX Runtime (1.31) otherwise leaves the axis in: (0, 3) summed over -1 has the shape (0, 3).
    """
    known: dict[tuple[int, ...], ir.Value] = {}
    for node in model.graph.all_nodes():
        value = node.inputs[0] if node.inputs else None
        if value is None or value.shape is None:
            continue
        rank = len(value.shape)
        if node.op_type in ("ArgMin", "ArgMax"):
            axis = node.attributes["axis"].as_int()
            node.attributes["axis"] = ir.AttrInt64("axis", axis % rank)
        elif node.op_type.startswith("Reduce") and len(node.inputs) > 1 and node.inputs[1] is not None:
            told = node.inputs[1].const_value
            if told is None or not (told.numpy() < 0).any():
                continue
            axes = tuple(int(axis) % rank for axis in told.numpy())
            if axes not in known:
                known[axes] = _constant(model, f"axes_{'_'.join(map(str, axes))}", axes)
            node.replace_input_with(1, known[axes])


def _constant(model: ir.Model, name: str, numbers: tuple[int, ...]) -> ir.Value:
    """Whole numbers as a value that the model holds."""
    held = ir.tensor(list(numbers), dtype=ir.DataType.INT64, name=name)
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([len(numbers)]), const_value=held)
    model.graph.register_initializer(value)
    return value
