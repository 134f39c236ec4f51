"""Claims of the literature with their protocols, and what became of them: `mt.replicate_claim(name)` runs one."""

from microtome.replicate.cards import claim_card as claim_card
from microtome.replicate.cards import claim_cards as claim_cards
from microtome.replicate.claim import Claim as Claim
from microtome.replicate.claim import Effect as Effect
from microtome.replicate.claim import RunContext as RunContext
from microtome.replicate.results import ClaimResult as ClaimResult
from microtome.replicate.results import committed_result as committed_result
from microtome.replicate.rules import Above as Above
from microtome.replicate.rules import Below as Below
from microtome.replicate.rules import Within as Within
from microtome.replicate.running import replicate_claim as replicate_claim
