"""A trunk over all slots, then a read-out of each: for moves whose effect depends on the state."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.trunks import AttentionTrunk, Trunk
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkPredictor(Predictor):
    """z'_s = LayerNorm(z_s + read-out of the trunk's features of slot s under the action).

    The action joins every slot before the trunk (the default), so that the trunk may look for what this action needs,
    or behind it (`late_actions`). Late, one pass of the trunk serves all actions, which is what makes searches fast.
    """

    trunk: Trunk = AttentionTrunk()
    """What looks at several slots at once."""
    late_actions: bool = False
    """Whether the action joins behind the trunk: z'_(a, s) = LayerNorm(z_s + V relu(U h_s + e_a)), h of no action."""
    place_gates: bool = False
    """Whether a learned number for every late action and every place scales what changes there: where an action is
    about one of many places, as in "derive x7"."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """See base class.

        Raises:
          ValueError: the trunk was made for slots of another shape.
        """
        trunk = self.trunk.build(latent_width=latent_width, num_slots=num_slots, rngs=rngs)
        # Most slots stay as they are: learning begins there. Beginning with large changes, some domains never got
        # further than to make none (docs/domains.md).
        small = nnx.initializers.normal(1e-2)
        read_out = nnx.Linear(trunk.width, latent_width // trunk.num_groups, kernel_init=small, rngs=rngs)
        codes = nnx.Embed(num_actions, trunk.width, rngs=rngs)
        if not self.late_actions:
            return _EarlyActions(num_slots, trunk, codes, read_out)
        hidden = nnx.Linear(trunk.width, trunk.width, rngs=rngs)
        gates = nnx.Param(jnp.ones((num_actions, trunk.num_groups))) if self.place_gates else None
        return _LateActions(num_slots, trunk, codes, read_out, hidden, gates)


class _EarlyActions(PredictorModule):
    def __init__(self, num_slots: int, trunk: nnx.Module, codes: nnx.Embed, read_out: nnx.Linear):
        self.num_slots, self.num_actions = num_slots, codes.num_embeddings
        self.trunk, self.codes, self.read_out = trunk, codes, read_out

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        changes = self.read_out(self.trunk(latents, self.codes(actions)))
        return normalize_slots(latents + changes.reshape(latents.shape), self.num_slots)


class _LateActions(_EarlyActions):
    def __init__(
        self,
        num_slots: int,
        trunk: nnx.Module,
        codes: nnx.Embed,
        read_out: nnx.Linear,
        hidden: nnx.Linear,
        gates: nnx.Param | None,
    ):
        super().__init__(num_slots, trunk, codes, read_out)
        self.hidden, self.gates = hidden, gates

    def all_actions(self, latents: Float[Array, "B D"]) -> Float[Array, "B A D"]:
        gates = None if self.gates is None else self.gates[...][None]
        return self._successors(latents, self.codes.embedding[...][None], gates)

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        gates = None if self.gates is None else self.gates[...][actions][:, None]
        return self._successors(latents, self.codes(actions)[:, None], gates)[:, 0]

    def _successors(
        self, latents: Float[Array, "B D"], codes: Float[Array, "#B A W"], gates: Float[Array, "#B A G"] | None
    ) -> Float[Array, "B A D"]:
        hidden = self.hidden(self.trunk(latents))
        changes = self.read_out(jax.nn.relu(hidden[:, None] + codes[:, :, None]))
        if gates is not None:
            changes = changes * gates[..., None]
        return normalize_slots(latents[:, None] + changes.reshape(*changes.shape[:2], -1), self.num_slots)
