"""Generated messages and stubs (by `make proto`; never edited), in a descriptor pool of their own."""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
